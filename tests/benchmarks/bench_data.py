"""Time and peak memory of ingest and prepare at 1x and 10x the rows.

Each size runs in a process of its own. The larger file holds the smaller one's rows with a number
added to each text, so that none is a duplicate.
"""

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd
from timing import in_own_process, memory_mib, print_compared, timed  # beside this file

from components.data.headers import layout_of
from tests.data.sample_generator import write_sample


def multiply(source, target, scale):
    once = pd.read_csv(source, dtype=str, keep_default_na=False)
    body = once.iloc[:, layout_of(list(once.columns), source.name).positions["review_body"]]
    numbered = (body.where(body.str.strip() == "", body + f" no. {n}") for n in range(1, scale))
    copies = [once, *(once.assign(**{body.name: texts}) for texts in numbered)]
    pd.concat(copies).to_csv(target, index=False)


def measure(data):
    """Run both steps in this process: rows, seconds of each, and peak memory in MiB."""
    import pandera.pandas  # noqa: F401

    from components.data.checks import reasons_against  # noqa: F401 (imports are not the work)
    from components.data.ingest import ingest
    from components.data.prepare import prepare

    found = {"peak_after_imports_mib": memory_mib()}
    with tempfile.TemporaryDirectory() as folder:
        steps = {
            "ingest": lambda: ingest(data, f"{folder}/r", f"{folder}/q", f"{folder}/s"),
            "prepare": lambda: prepare(f"{folder}/r", f"{folder}/p", f"{folder}/ps"),
        }
        for name, step in steps.items():
            found[f"{name}_s"], _ = timed(step)
            found[f"peak_after_{name}_mib"] = memory_mib()
        return found | {"rows": json.loads(Path(folder, "s").read_text())["rows_in"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="CSV file; made-up reviews where not given")
    parser.add_argument("--rows", type=int, default=20_000, help="made-up reviews at 1x")
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        once = options.data or Path(folder, "once.csv")
        if options.data is None:
            write_sample(once, rows=options.rows)
        many = Path(folder, "many.csv")
        multiply(once, many, options.scale)
        sizes = {"1x": once, f"{options.scale}x": many}
        print_compared({x: in_own_process(__file__, "--measure", sizes[x]) for x in sizes})


if __name__ == "__main__":
    main()

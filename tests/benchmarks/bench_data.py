"""Time and peak memory of ingest and prepare at 1x and 10x the rows.

    python tests/benchmarks/bench_data.py --data FILE.csv [--scale 10]

Without `--data` the sample's generator makes the rows. Each size runs in a process of its own, so
that the peak memory is that of this size alone. The larger file holds the smaller one's rows with
a number added to each text, so that none is a duplicate.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import memory_mib, timed  # beside this file

from components.data.headers import layout_of
from tests.data.sample_generator import write_sample


def multiply(source: Path, target: Path, scale: int) -> None:
    """Write a CSV file's rows `scale` times, with a number added to each text but the first's."""
    with (
        source.open(encoding="utf-8", newline="") as stream,
        target.open("w", encoding="utf-8", newline="") as out,
    ):
        rows = csv.reader(stream)
        header = next(rows)
        body = layout_of(header, source.name, labels_required=True).positions["review_body"]
        kept = list(rows)
        writer = csv.writer(out)
        writer.writerow(header)
        for copy in range(scale):
            for row in kept:
                text = f"{row[body]} no. {copy}" if copy and row[body].strip() else row[body]
                writer.writerow([*row[:body], text, *row[body + 1 :]])


def measure(data: str) -> dict[str, float]:
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


def main() -> None:
    """Measure both sizes and print them with their ratio."""
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
        found = []
        for path in (once, many):
            command = [sys.executable, __file__, "--measure", str(path)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(json.loads(answer.stdout.splitlines()[-1]))
    print(f"{'':24}{'1x':>12}{f'{options.scale}x':>12}{'ratio':>8}")
    for name in found[0]:
        small, large = found[0][name], found[1][name]
        print(f"{name:24}{small:12,.1f}{large:12,.1f}{large / small:8.2f}")


if __name__ == "__main__":
    main()

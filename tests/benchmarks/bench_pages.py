"""Time and peak memory of the pages on the data, at 1x and 10x the rows.

Each page is made in a process of its own, whose imports count: a step of a pipeline pays for them
too. The larger file holds the smaller one's rows with a number added to each text.
"""

import argparse
import json
import tempfile
from pathlib import Path

from bench_data import multiply  # beside this file
from timing import in_own_process, machine, memory_mib, print_compared, timed

from tests.data.sample_generator import write_sample


def exploration(prepared, folder):
    from components.data.exploration.explore import explore
    from components.report.exploration_page import write_exploration_page

    explore(prepared, folder / "summary", base_model="minilm", max_tokens=160)
    write_exploration_page(folder / "summary", folder / "page")


def table(prepared, folder):
    from components.data.exploration.browse import browse

    browse(prepared, folder / "page")


PAGES = {"exploration": exploration, "table": table}


def prepare_csv(source, folder):
    """What ingest and prepare make of a file."""
    from components.data.ingest import ingest
    from components.data.prepare import prepare

    folder.mkdir()
    ingest(str(source), folder / "reviews", folder / "quarantine", folder / "ingest.json")
    prepare(folder / "reviews", folder / "prepared", folder / "prepare.json")
    return folder / "prepared"


def measure(page, prepared):
    """Make a page in this process: seconds, CPU seconds, peak memory and size."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = timed(lambda: PAGES[page](prepared, Path(folder)))
        size = Path(folder, "page").stat().st_size / 1e6
    found = {"s": wall, "cpu_s": cpu, "peak_mib": memory_mib(), "page_mb": size}
    return {f"{page}_{name}": value for name, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="CSV file; made-up reviews where not given")
    parser.add_argument("--rows", type=int, default=20_000, help="made-up reviews at 1x")
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        once, more = options.data or folder / "once.csv", folder / "more.csv"
        if options.data is None:
            write_sample(once, rows=options.rows)
        multiply(once, more, options.scale)
        found = {}
        for scale, source in (("1x", once), (f"{options.scale}x", more)):
            prepared = prepare_csv(source, folder / scale)
            found[scale] = {}
            for page in PAGES:
                found[scale] |= in_own_process(__file__, "--measure", page, prepared)
    print_compared(found)


if __name__ == "__main__":
    main()

"""SQL on made-up reviews: laying out, registering, a grouped count, and the memory that each takes.

Each size runs in a process of its own. The bars: at ten million rows a grouped count takes less
than 1 s on two cores, registering less than 2 s; ten times the rows do not take ten times the
memory. As a baseline the same count by pandas, which reads the columns that it needs.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median

from timing import in_own_process, machine, memory_mib, print_compared, timed  # beside this file

QUERY = "categories-by-sentiment"
WORDS = ("soft", "itchy", "lovely", "awful", "dress", "fabric", "seam", "size", "fits", "tight")
BARS = {"grouped_count_s": 1.0, "register_s": 2.0}


def make_up(path, rows):
    """A file of reviews as ingest writes it: 24 months, 20 categories, some 100 characters each."""
    import duckdb

    words = "[" + ", ".join(f"'{word}'" for word in WORDS) + "]"
    text = " || ' ' || ".join(
        f"{words}[(hash(n, {place}) % {len(WORDS)}) :: INT + 1]" for place in range(16)
    )
    with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
        connection.execute(
            f"""COPY (SELECT md5(n :: VARCHAR) AS review_id, {text} AS review_body,
            CASE WHEN n % 6 > 0 THEN 'A title' END AS title, 1 + (hash(n) % 5) :: INT AS rating,
            (hash(n) % 3) :: INT - 1 AS sentiment,
            'category ' || hash(n, 1) % 20 AS product_category,
            (hash(n, 2) % 1000) :: VARCHAR AS clothing_id, 18 + (n % 70) :: INT AS age,
            (n % 2) :: INT AS recommended, (n % 9) :: INT AS positive_feedback_count,
            'General' AS division, 'Tops' AS department,
            TIMESTAMPTZ '2023-01-01 00:00:00+00' + to_days((hash(n, 3) % 730) :: INT)
            AS event_timestamp FROM range({rows}) AS r (n)) TO '{path}' (FORMAT parquet)"""
        )


def measure(rows):
    """The figures of one size, in this process."""
    import duckdb  # noqa: F401 (imports are not the work)
    import pandas as pd
    import pyiceberg.catalog.sql  # noqa: F401

    from components.data import catalogue
    from components.data.query_process import Request, answer
    from components.data.sql import Tables, ask, named_queries

    found = {"rows": rows, "peak_after_imports_mib": memory_mib()}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CATALOGUE_URI"] = f"sqlite:///{folder}/catalogue.db"
        os.environ["CATALOGUE_WAREHOUSE"] = folder
        reviews = Path(folder, "reviews.parquet")
        in_own_process(__file__, "--make-up", reviews, "--rows", rows)
        laid_out = Path(folder, "reviews", "data", "f")
        found["lay_out_s"], _ = timed(lambda: catalogue.lay_out(reviews, laid_out))
        found["peak_after_lay_out_mib"] = memory_mib()
        found["register_s"], _ = timed(lambda: catalogue.register(reviews, "f", "made up"))
        found["peak_after_register_mib"] = memory_mib()
        data = catalogue.data_sets()[-1]
        files = catalogue.files_of(data)
        tables, query = Tables.of(files, data.labels), named_queries()[QUERY][1]
        request = Request(query, tables.views, files, 10_000, "2GB", folder)
        turns = [timed(lambda: answer(request).read_all())[0] for _ in range(7)]
        found["grouped_count_s"] = median(turns)
        found["peak_after_count_mib"] = memory_mib()
        found["ask_in_a_process_s"] = median(timed(lambda: ask(query, tables))[0] for _ in range(3))

        def by_pandas():
            columns = ["product_category", "sentiment", "rating"]
            frame = pd.concat(pd.read_parquet(file, columns=columns) for file in files)
            frame.groupby(columns[:2])["rating"].agg(["size", "mean"])

        found["pandas_s"] = median(timed(by_pandas)[0] for _ in range(3))
        found["files_mib"] = sum(Path(file).stat().st_size for file in files) / 2**20
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--make-up", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make_up:
        make_up(options.make_up, options.rows)
        print("{}")
    elif options.measure:
        print(json.dumps(measure(options.rows)))
    else:
        print(machine())
        sizes = (options.rows // 10, options.rows)
        found = {
            f"{rows:,}": in_own_process(__file__, "--measure", "--rows", rows) for rows in sizes
        }
        print_compared(found)
        largest = list(found.values())[-1]
        for name, bar in BARS.items():
            seconds = largest[name]
            print(f"{name}: {seconds:.2f} s, {'within' if seconds < bar else 'OVER'} {bar:g} s")
        ratio = largest["pandas_s"] / largest["grouped_count_s"]
        print(f"the grouped count is {ratio:.1f} times as fast as by pandas")


if __name__ == "__main__":
    main()

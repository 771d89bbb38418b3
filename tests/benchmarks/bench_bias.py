"""Seconds of the bias step: all facets, all metrics and 2,000 resamples; and its page.

Reviews are made up where none are given; then every tenth prediction is wrong.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import duckdb
from timing import machine, memory_mib, timed  # beside this file

from components.data.ingest import ingest
from components.data.prepare import prepare
from components.evaluation.bias.facets import count_rows, parse_facets
from components.evaluation.bias.measure import measure, measured
from components.report.bias_page import write_bias_page
from components.shared.records.labels import labels_of_file
from tests.data.sample_generator import write_sample

FACETS = "product_category department division age"


def prepared_reviews(folder, rows):
    write_sample(folder / "reviews.csv", rows=rows)
    ingest(str(folder / "reviews.csv"), *(folder / name for name in ("r", "q", "s")))
    prepare(folder / "r", folder / "prepared", folder / "ps")
    return folder / "prepared"


def predictions_for(prepared, target):
    duckdb.sql(
        f"""copy (select review_id,
          case when hash(review_id) % 10 = 0 then 0 else sentiment end as predicted
        from read_parquet('{prepared}') where split = 'test') to '{target}' (format parquet)"""
    )
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="made-up reviews")
    parser.add_argument("--prepared", type=Path, help="what prepare-reviews wrote")
    parser.add_argument("--predictions", type=Path, help="what evaluate-classifier wrote")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = options.prepared or prepared_reviews(folder, options.rows)
        predictions = options.predictions or predictions_for(prepared, folder / "predictions")
        facets, classes = parse_facets(FACETS), labels_of_file(prepared).names
        counted = count_rows(prepared, predictions, facets)
        summary, page = folder / "summary.json", folder / "page.html"
        steps = {
            "count rows": lambda: count_rows(prepared, predictions, facets),
            "all facets and metrics, 2,000 resamples": lambda: measured(counted, classes),
            "the step without its page": lambda: measure(prepared, predictions, summary, FACETS),
            "the page": lambda: write_bias_page(summary, page),
        }
        for name, step in steps.items():
            step()
            wall, cpu = min(timed(step) for _ in range(3))
            print(f"{name:42}{wall:6.2f} s  ({cpu:.2f} s of CPU)")
        print(f"page {page.stat().st_size / 1e6:.2f} MB; peak memory {memory_mib():,.0f} MiB")


if __name__ == "__main__":
    main()

"""The Hive layout of a data set: a folder for each month of reviews, with a Parquet file."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.machine.files import replaced_when_whole
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import REVIEW_SCHEMA

FILE = "reviews.parquet"
"""The one file of a month's folder."""

_SORTING_MEMORY = "512MB"
"""More than that is sorted on disk."""

_BATCH_ROWS = 100_000
_MONTH = "month"


def lay_out(reviews: str | Path, folder: Path) -> None:
    """Write the rows of a reviews file as `folder`/month=2024-05/reviews.parquet, whole or not.

    Within a month rows are sorted by category, so that a query for one category reads a few row
    groups. Categories are no folders: there may be ten thousand of them. The month is a folder
    only, not a column: every engine derives it from `event_timestamp`.
    """
    schema = labels_of_file(reviews).on(REVIEW_SCHEMA)
    with replaced_when_whole(folder) as draft:
        draft.mkdir()
        month, writer = "", None
        try:
            for part in _sorted(reviews):
                for name, rows in _by_month(part):
                    if name != month:
                        if writer:
                            writer.close()
                        month, file = name, draft / f"{_MONTH}={name}" / FILE
                        file.parent.mkdir()
                        writer = pq.ParquetWriter(file, schema, compression="zstd")
                    writer.write_table(rows.cast(schema))
        finally:
            if writer:
                writer.close()


def files_in(folder: Path) -> list[str]:
    """The Parquet files that `lay_out` wrote, by month."""
    return [str(file) for file in sorted(folder.glob(f"{_MONTH}=*/{FILE}"))]


def _sorted(reviews: str | Path) -> Iterator[pa.Table]:
    """All rows in the order of month, category and id, with the month as a column, in batches."""
    import duckdb

    columns = ", ".join(REVIEW_SCHEMA.names)
    with tempfile.TemporaryDirectory() as overflow:
        settings = {"memory_limit": _SORTING_MEMORY, "temp_directory": overflow}
        with duckdb.connect(config={**settings, "autoload_known_extensions": False}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.sql(
                f"SELECT {columns}, strftime(event_timestamp, '%Y-%m') AS {_MONTH} "  # noqa: S608
                f"FROM read_parquet($file) ORDER BY {_MONTH}, product_category, review_id",
                params={"file": str(reviews)},
            )
            for batch in rows.to_arrow_reader(_BATCH_ROWS):
                yield pa.Table.from_batches([batch])


def _by_month(part: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The runs of equal months of a sorted part, without the column of the month."""
    import pyarrow.compute as pc

    runs = pc.run_end_encode(part[_MONTH].combine_chunks())
    rows, start = part.drop_columns([_MONTH]), 0
    for month, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield month, rows.slice(start, end - start)
        start = end

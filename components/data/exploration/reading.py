"""The prepared reviews, some thousand at a time."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from components.data.reading import iterate_rows
from components.shared.machine.errors import UserError
from components.shared.records.reviews import PREPARED_SCHEMA


def iterate_prepared(path: str | Path) -> Iterator[pa.Table]:
    """Tables in `PREPARED_SCHEMA`; none of them is empty.

    Raises:
        UserError: If the file is missing, is something else or has no rows.
    """
    rows, names = 0, PREPARED_SCHEMA.names

    def form(table: pa.Table) -> pa.Table:
        return table.select(names).cast(PREPARED_SCHEMA)

    for table in iterate_rows(path, names, form, "prepared reviews", "prepare them"):
        rows += table.num_rows
        yield table
    if not rows:
        raise UserError(f"{path} has no rows; prepare data with reviews first")

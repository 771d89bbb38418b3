"""The prepared reviews, some thousand at a time, so that memory does not grow with them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.machine.errors import UserError
from components.shared.records.reviews import PREPARED_SCHEMA

BATCH_ROWS = 5_000


def iterate_prepared(path: str | Path) -> Iterator[pa.Table]:
    """Tables in `PREPARED_SCHEMA`; none of them is empty.

    Raises:
        UserError: If the file is missing, is something else or has no rows.
    """
    rows = 0
    try:
        # Buffering ahead would hold the whole file, and more threads hold more batches.
        file = pq.ParquetFile(path, pre_buffer=False)
        names = PREPARED_SCHEMA.names
        for part in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
            rows += part.num_rows
            table = pa.Table.from_batches([part])
            yield table.select(names).cast(PREPARED_SCHEMA)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; prepare reviews first") from None
    except (pa.ArrowException, KeyError) as error:
        words = str(error).splitlines()[0][:200]
        message = f"{path} does not hold prepared reviews ({words}); prepare them again"
        raise UserError(message) from error
    if not rows:
        raise UserError(f"{path} has no rows; prepare data with reviews first")

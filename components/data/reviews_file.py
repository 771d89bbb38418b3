"""The reviews file that ingest writes, read in batches."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.machine.errors import UserError
from components.shared.records.reviews import REVIEW_SCHEMA

BATCH_ROWS = 5_000


def iterate_reviews(path: str | Path) -> Iterator[pa.Table]:
    """Read reviews in batches, so that memory does not grow with the file.

    Args:
        path: Parquet in the form of `REVIEW_SCHEMA`.

    Yields:
        Tables of at most `BATCH_ROWS` rows.

    Raises:
        UserError: If the file is missing, damaged or in another form.
    """
    try:
        # Buffering ahead would hold the whole file, and more threads hold more batches.
        file = pq.ParquetFile(path, pre_buffer=False)
        batches = file.iter_batches(BATCH_ROWS, columns=REVIEW_SCHEMA.names, use_threads=False)
        for part in batches:
            yield pa.Table.from_batches([part]).select(REVIEW_SCHEMA.names).cast(REVIEW_SCHEMA)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; ingest reviews first") from None
    except (pa.ArrowException, KeyError) as error:
        words = str(error).splitlines()[0][:200]
        raise UserError(f"{path} does not hold reviews ({words}); ingest them again") from error

"""What a step wrote, some thousand rows at a time, so that memory does not grow with them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.machine.errors import UserError

BATCH_ROWS = 5_000


def iterate_rows(
    path: str | Path,
    columns: list[str],
    form: Callable[[pa.Table], pa.Table],
    holds: str,
    remedy: str,
) -> Iterator[pa.Table]:
    """Tables of at most `BATCH_ROWS` rows, each in the form that its reader wants.

    Args:
        path: A Parquet file.
        columns: Names of the columns to read; one that the file lacks is left out.
        form: Makes a table of the wanted schema of what was read.
        holds: What the file has to hold, for errors: `reviews`.
        remedy: How to get such a file, for errors: `ingest them`.

    Raises:
        UserError: If the file is missing, or holds something else.
    """
    try:
        # Buffering ahead would hold the whole file, and more threads hold more batches.
        file = pq.ParquetFile(path, pre_buffer=False)
        for part in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            yield form(pa.Table.from_batches([part]))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {remedy} first") from None
    except (pa.ArrowException, KeyError) as error:
        words = str(error).splitlines()[0][:200]
        raise UserError(f"{path} does not hold {holds} ({words}); {remedy} again") from error

"""Rejected rows: a Parquet file with the place, the reason and the record of each."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from components.data.readers import Rejected

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),
    ]
)
"""`source` is the file, `line` the 1-based physical line where the record starts (the row number
in Parquet), `record` what stood there, as JSON text."""

_EXAMPLES_PER_REASON = 3
_EXAMPLE_CHARACTERS = 300


class Quarantine:
    """Writes rejected rows as they come and counts them by reason.

    Attributes:
        reasons: Number of rows for each reason.
        examples: The first few rows of each reason, their records cut short.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, QUARANTINE_SCHEMA, compression="zstd")
        self.reasons: Counter[str] = Counter()
        self.examples: list[dict[str, str | int]] = []

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def add(self, source: str, rejected: Iterable[Rejected]) -> None:
        """Write rows of one source, in the order of their lines."""
        rows = sorted(rejected, key=lambda row: row.line)
        if not rows:
            return
        for row in rows:
            self.reasons[row.reason] += 1
            if self.reasons[row.reason] <= _EXAMPLES_PER_REASON:
                self.examples.append(
                    {
                        "source": source,
                        "line": row.line,
                        "reason": row.reason,
                        "record": row.record[:_EXAMPLE_CHARACTERS],
                    }
                )
        columns = [
            [source] * len(rows),
            [row.line for row in rows],
            [row.reason for row in rows],
            [row.record for row in rows],
        ]
        self._writer.write_table(pa.table(columns, schema=QUARANTINE_SCHEMA))

    @property
    def rows(self) -> int:
        """How many rows were rejected."""
        return self.reasons.total()

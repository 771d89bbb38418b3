"""Parquet as batches of text columns; bytes that are not UTF-8 cost their row alone."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.data.batches import HOLDS_NUL, NOT_UTF8, Batch, Rejected, as_json
from components.data.headers import FIELDS, Columns, Layout
from components.shared.machine.errors import UserError

PART_ROWS = 2_500
"""Rows read at a time."""


def read_parquet(stream: Any, name: str, columns: Columns) -> Iterator[tuple[Layout, Batch]]:
    """The layout and the next batch of an open Parquet file; rows stand for lines."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream, pre_buffer=False)
        layout = columns.layout(file.schema_arrow.names, name)
        row = 0
        for part in file.iter_batches(batch_size=PART_ROWS):
            yield layout, _parquet_batch(part, layout, name, row)
            row += part.num_rows
        if not row:
            yield layout, Batch([], {}, lambda i: "{}")
    except (pa.ArrowException, UnicodeDecodeError) as error:
        words = str(error).splitlines()[0][:200]
        raise UserError(
            f"{name} is not a readable Parquet file ({words}); write it again"
        ) from error


def _parquet_batch(part: pa.RecordBatch, layout: Layout, name: str, first_row: int) -> Batch:
    texts = {}
    damaged: dict[int, str] = {}
    for target, position in layout.positions.items():
        column = part.column(position)
        if pa.types.is_nested(column.type):
            if target not in FIELDS:
                continue
            raise UserError(
                f"{name} has lists or structs in column {layout.names[position]!r}; "
                "give it plain values"
            )
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        column, not_utf8 = _as_utf8(column)
        damaged |= dict.fromkeys(not_utf8, NOT_UTF8)
        holds_nul = pc.fill_null(pc.match_substring(column, "\0"), False)
        damaged |= dict.fromkeys(pc.indices_nonzero(holds_nul).to_pylist(), HOLDS_NUL)
        texts[target] = column

    def raw(row: int) -> str:
        values = (_plain(column[row]) for column in part.columns)
        return as_json(dict(zip(part.schema.names, values, strict=True)))

    good = [row for row in range(part.num_rows) if row not in damaged]
    return Batch(
        [first_row + 1 + row for row in good],
        {target: column.take(pa.array(good, pa.int64())) for target, column in texts.items()}
        if damaged
        else texts,
        lambda i: raw(good[i]),
        [Rejected(first_row + 1 + row, why, raw(row)) for row, why in sorted(damaged.items())],
    )


def _as_utf8(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """A column as text, null where its bytes are not UTF-8, and the rows where they are not."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        texts = column.cast(pa.string())
        texts.validate(full=True)
        return texts, []
    except pa.ArrowInvalid:
        values = column.cast(pa.binary()).to_pylist()
    lost = [row for row, value in enumerate(values) if value and not _decodes(value)]
    for row in lost:
        values[row] = None
    return pa.array(values, pa.binary()).cast(pa.string()), lost


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(value: pa.Scalar) -> Any:
    """A Parquet value for the quarantine file, damaged or not."""
    try:
        plain = value.as_py()
    except UnicodeDecodeError:
        plain = value.cast(pa.binary()).as_py() if not pa.types.is_nested(value.type) else "?"
    except (ValueError, OverflowError):  # such as a time beyond the year 9999
        plain = str(value)
    return plain.decode("utf-8", "surrogateescape") if isinstance(plain, bytes) else plain

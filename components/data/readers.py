"""Readers of CSV, TSV, JSON Lines and Parquet: batches of text columns, and what could not be read.

All formats come out alike: every field as text, so that one set of checks serves them all. A row
that cannot be told apart or decoded is a `Rejected`, with the place where it stands.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.data.headers import ALIASES, header_key, map_header
from components.data.lines import (
    MAX_RECORD_CHARACTERS,
    LineFeed,
    RunawayRecordError,
    is_sound,
    open_text,
    readable,
)
from components.data.sources import Source
from components.shared.machine.errors import UserError

MAX_BATCH_ROWS = 10_000
MAX_BATCH_CHARACTERS = 8_000_000
"""A batch ends at whichever bound comes first, so that memory stays flat."""

NOT_UTF8 = "holds bytes that are not UTF-8"
HOLDS_NUL = "holds a NUL character"
TOO_LONG = "the record is too long"
BAD_QUOTE = "a quote is not closed or not doubled"
FEWER = "fewer fields than the header"
MORE = "more fields than the header"
NOT_JSON = "not valid JSON"
NOT_AN_OBJECT = "not a JSON object"
NOT_PLAIN = "a field holds a list or an object"


@dataclass(frozen=True)
class Rejected:
    """A row that is not kept.

    Attributes:
        line: 1-based physical line where the record starts; row number for Parquet.
        reason: Why, in words.
        record: The record as it stood, as JSON text.
    """

    line: int
    reason: str
    record: str


@dataclass
class Batch:
    """Some rows of one source.

    Attributes:
        lines: Where each row stands, as in `Rejected`.
        columns: For each field that the source has, the rows' texts: an Arrow string array.
        raw: Gives row i as it stood, as JSON text.
        rejected: Rows of this stretch of the source that could not be read.
    """

    lines: list[int]
    columns: dict[str, pa.Array]
    raw: Callable[[int], str]
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """All rows that were read, the rejected ones among them."""
        return len(self.lines) + len(self.rejected)


@dataclass(frozen=True)
class Layout:
    """Which columns a source has and which of them are understood.

    Attributes:
        names: All its column names.
        positions: Position of each field that was found.
    """

    names: tuple[str, ...]
    positions: dict[str, int]

    @property
    def ignored(self) -> list[str]:
        """Names of the columns that stand for no field."""
        used = set(self.positions.values())
        return [name for position, name in enumerate(self.names) if position not in used]


def read_batches(source: Source, *, labels_required: bool) -> Iterator[tuple[Layout, Batch]]:
    """Read one file in batches.

    Args:
        source: What to read.
        labels_required: Whether a source without any label column is refused.

    Yields:
        The layout, the same each time, and the next batch. A source that has a header alone
        gives one batch without rows.

    Raises:
        UserError: If the file is unreadable, empty, or lacks a column that it must have.
    """
    with source.opened() as stream:
        if source.format == "parquet":
            yield from _read_parquet(stream, source.name, labels_required)
            return
        try:
            feed = LineFeed(open_text(stream, source.name))
            if source.format == "jsonl":
                yield from _read_json_lines(feed, source.name, labels_required)
            else:
                delimiter = "\t" if source.format == "tsv" else ","
                yield from _read_delimited(feed, source.name, delimiter, labels_required)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{source.name} begins as {error.encoding} and does not go on so; save it as UTF-8"
            ) from error


def _read_delimited(
    feed: LineFeed, name: str, delimiter: str, labels_required: bool
) -> Iterator[tuple[Layout, Batch]]:
    records = _records(feed, delimiter)
    header_line, header, problem = next(records, (0, [], None))
    if problem is not None:
        raise UserError(
            f"{name} has an unreadable header in line {header_line}: {problem}; mend it"
        )
    if not header:
        raise UserError(f"{name} is empty; give a file with a header and at least one review")
    bad = next((h for h in header if not is_sound(h) or "\0" in h), None)
    if bad is not None:
        raise UserError(
            f"{name} has a column name that is not UTF-8 text, {readable(bad)[:60]!r}; "
            "save the file as UTF-8"
        )
    layout = Layout(tuple(header), map_header(header, name, labels_required=labels_required))
    width = len(header)
    rows: list[list[str]] = []
    lines: list[int] = []
    rejected: list[Rejected] = []
    characters = 0

    def batch() -> Batch:
        columns = {
            target: _text_array([row[position] for row in rows])
            for target, position in layout.positions.items()
        }
        taken = rows
        return Batch(
            lines, columns, lambda i: _record(dict(zip(header, taken[i], strict=True))), rejected
        )

    for line, row, problem in records:
        if problem is None and len(row) != width:
            problem = FEWER if len(row) < width else MORE
            if len(feed.record) > 1:
                # Most likely a quote that never closes has swallowed the lines that follow: only
                # the first line is lost, the others are read again.
                feed.take_back_all_but_first()
        if problem is None:
            problem = _damage(row)
            if problem is not None:
                rejected.append(
                    Rejected(line, problem, _record(dict(zip(header, row, strict=True))))
                )
                continue
        if problem is not None:
            rejected.append(Rejected(line, problem, _record({"line": feed.record[0]})))
        else:
            rows.append(row)
            lines.append(line)
            characters += sum(map(len, feed.record))
        if len(rows) + len(rejected) >= MAX_BATCH_ROWS or characters >= MAX_BATCH_CHARACTERS:
            yield layout, batch()
            rows, lines, rejected, characters = [], [], [], 0
    yield layout, batch()


def _records(feed: LineFeed, delimiter: str) -> Iterator[tuple[int, list[str], str | None]]:
    """Records of a delimited file: the line each starts on, its fields, what is wrong with it.

    After a record that is wrong, reading goes on with the line that follows its first one.
    """
    csv.field_size_limit(2 * MAX_RECORD_CHARACTERS)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin_record()
        line = feed.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, RunawayRecordError) as error:
            problem = TOO_LONG if feed.overlong else BAD_QUOTE
            if isinstance(error, RunawayRecordError) and len(feed.record) == 1:
                problem = TOO_LONG
            feed.take_back_all_but_first()
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            yield line, [], problem
            continue
        if feed.overlong:
            feed.take_back_all_but_first()
            yield line, [], TOO_LONG
        elif row:
            yield line, row, None


def _read_json_lines(
    feed: LineFeed, name: str, labels_required: bool
) -> Iterator[tuple[Layout, Batch]]:
    layout: Layout | None = None
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    rejected: list[Rejected] = []
    characters = 0

    def batch() -> tuple[Layout, Batch]:
        nonlocal layout
        keys = list(dict.fromkeys(key for record in objects for key in record))
        if layout is None:
            if not objects:
                first = rejected[0]
                raise UserError(f"{name} has no JSON object: line {first.line} is {first.reason}")
            layout = Layout(tuple(keys), map_header(keys, name, labels_required=labels_required))
        # Later objects may have keys that the first ones lacked.
        found = map_header(
            [*layout.names, *(k for k in keys if k not in layout.names)],
            name,
            labels_required=False,
        )
        names = [*layout.names, *(k for k in keys if k not in layout.names)]
        taken = objects
        columns = {
            target: _text_array([_as_text(record.get(names[position])) for record in taken])
            for target, position in found.items()
        }
        return layout, Batch(lines, columns, lambda i: _record(taken[i]), rejected)

    while True:
        feed.begin_record()
        text = next(feed, "")
        if not text:
            break
        if feed.number == 1 and text.lstrip().startswith("["):
            raise UserError(f"{name} is a JSON array; write one JSON object per line")
        if not text.strip():
            continue
        problem, record = _parse_object(text) if not feed.overlong else (TOO_LONG, {})
        if problem is not None:
            rejected.append(Rejected(feed.number, problem, _record({"line": text})))
        else:
            objects.append(record)
            lines.append(feed.number)
            characters += len(text)
        if len(objects) + len(rejected) >= MAX_BATCH_ROWS or characters >= MAX_BATCH_CHARACTERS:
            yield batch()
            objects, lines, rejected, characters = [], [], [], 0
    if layout is None and not objects and not rejected:
        raise UserError(f"{name} is empty; give a file with at least one review")
    if objects or rejected:
        yield batch()


def _parse_object(text: str) -> tuple[str | None, dict[str, Any]]:
    """What is wrong with a line of JSON, or None, and the object that it holds."""
    if not is_sound(text):
        return NOT_UTF8, {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON, {}
    if not isinstance(value, dict):
        return NOT_AN_OBJECT, {}
    for key, part in value.items():
        if isinstance(part, list | dict) and header_key(key) in ALIASES:
            return NOT_PLAIN, {}
    problem = _damage([part for part in value.values() if isinstance(part, str)])
    if problem is None:
        problem = _damage(list(value))
    return problem, value


def _as_text(value: Any) -> str | None:
    """A JSON value as the text that a CSV file would hold for it."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _read_parquet(stream: Any, name: str, labels_required: bool) -> Iterator[tuple[Layout, Batch]]:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream, pre_buffer=False)
        names = file.schema_arrow.names
        layout = Layout(tuple(names), map_header(names, name, labels_required=labels_required))
        row = 0
        empty = True
        for part in file.iter_batches(batch_size=MAX_BATCH_ROWS // 4):
            empty = False
            yield layout, _parquet_batch(part, layout, name, row)
            row += part.num_rows
        if empty:
            yield layout, Batch([], {}, lambda i: "{}")
    except pa.ArrowException as error:
        words = str(error).splitlines()[0][:200]
        raise UserError(
            f"{name} is not a readable Parquet file ({words}); write it again"
        ) from error


def _parquet_batch(part: pa.RecordBatch, layout: Layout, name: str, first_row: int) -> Batch:
    columns = {}
    damaged: dict[int, str] = {}
    for target, position in layout.positions.items():
        column = part.column(position)
        kind = column.type
        if pa.types.is_nested(kind):
            raise UserError(
                f"{name} has lists or structs in column {layout.names[position]!r}; "
                "give it plain values"
            )
        if pa.types.is_floating(kind):
            column = pc.if_else(pc.is_nan(column), None, column)
        column = column.cast(pa.string())
        holds_nul = pc.fill_null(pc.match_substring(column, "\0"), False)
        for i in pc.indices_nonzero(holds_nul).to_pylist():
            damaged[i] = HOLDS_NUL
        columns[target] = column

    def raw(i: int) -> str:
        return _record(part.slice(i, 1).to_pylist()[0])

    lines = list(range(first_row + 1, first_row + 1 + part.num_rows))
    if not damaged:
        return Batch(lines, columns, raw)
    kept = [i for i in range(part.num_rows) if i not in damaged]
    return Batch(
        [lines[i] for i in kept],
        {target: column.take(pa.array(kept)) for target, column in columns.items()},
        lambda i: raw(kept[i]),
        [Rejected(lines[i], reason, raw(i)) for i, reason in sorted(damaged.items())],
    )


def _damage(texts: Sequence[str]) -> str | None:
    """Why these texts are not text, or None."""
    for text in texts:
        if "\0" in text:
            return HOLDS_NUL
        if not is_sound(text):
            return NOT_UTF8
    return None


def _text_array(texts: list[str | None]) -> pa.Array:
    return pa.array(texts, pa.string())


MAX_RAW_CHARACTERS = 20_000
"""Longer fields of a rejected record are cut in the quarantine file."""


def _record(fields: dict[str, Any]) -> str:
    """A record as JSON text, damage spelled out and absurd lengths cut."""
    shown = {
        readable(name): readable(value[:MAX_RAW_CHARACTERS]) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    text = json.dumps(shown, ensure_ascii=False, default=str)
    return text if is_sound(text) else json.dumps(shown, default=str)

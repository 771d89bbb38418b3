"""Readers of every format: batches of text columns, and the rows that cannot be read.

All formats give the same: every field as text, so that one set of checks serves them all. A row
that cannot be parsed or decoded is a `Rejected`, with the line where it starts.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from components.data.batches import HOLDS_NUL, NOT_UTF8, Batch, Rejected, as_json
from components.data.encodings import open_text
from components.data.headers import ALIASES, Columns, Layout, header_key
from components.data.lines import (
    TOO_LONG,
    LineFeed,
    csv_records,
    is_sound,
    readable,
    separator_of,
)
from components.data.parquet import read_parquet
from components.data.sources import Source
from components.shared.machine.errors import UserError

MAX_BATCH_ROWS = 10_000
MAX_BATCH_CHARACTERS = 8_000_000
"""A batch ends at whichever bound comes first, so that memory stays flat."""

FEWER = "fewer fields than the header"
MORE = "more fields than the header"
NOT_JSON = "not valid JSON"
NOT_AN_OBJECT = "not a JSON object"
NOT_PLAIN = "a field holds a list or an object"


@dataclass(frozen=True)
class _Row:
    """A row that could be read: where it starts, what it holds, and its length in characters."""

    line: int
    value: Any
    characters: int


def read_batches(source: Source, columns: Columns) -> Iterator[tuple[Layout, Batch]]:
    """Read one file in batches: the layout, the same each time, and the next batch.

    A source that has a header alone gives one batch without rows.

    Raises:
        UserError: If the file is unreadable, empty, or lacks a column that it must have.
    """
    with source.opened() as stream:
        if source.format == "parquet":
            yield from read_parquet(stream, source.name, columns)
            return
        try:
            text = open_text(stream, source.name)
            feed = LineFeed(text)
            if source.format == "jsonl":
                batches = _read_json_lines(feed, source.name, columns)
            else:
                usual = "\t" if source.format == "tsv" else ","
                batches = _read_delimited(feed, source.name, usual, columns)
            for layout, batch in batches:
                yield replace(layout, encoding=text.encoding), batch
        except UnicodeDecodeError as error:
            raise UserError(
                f"{source.name} begins as {error.encoding} and does not continue so; "
                "save it as UTF-8"
            ) from error


def _batches(rows: Iterable[_Row | Rejected]) -> Iterator[tuple[list[_Row], list[Rejected]]]:
    """Rows up to the bounds of a batch, at least one batch."""
    good: list[_Row] = []
    rejected: list[Rejected] = []
    characters = 0
    first = True
    for row in rows:
        if isinstance(row, Rejected):
            rejected.append(row)
        else:
            good.append(row)
            characters += row.characters
        if len(good) + len(rejected) >= MAX_BATCH_ROWS or characters >= MAX_BATCH_CHARACTERS:
            yield good, rejected
            good, rejected, characters, first = [], [], 0, False
    if first or good or rejected:
        yield good, rejected


def _read_delimited(
    feed: LineFeed, name: str, usual: str, columns: Columns
) -> Iterator[tuple[Layout, Batch]]:
    separator = separator_of(feed, usual, columns.recognised)
    records = csv_records(feed, separator)
    header_line, header, problem = next(records, (0, [], None))
    if problem is not None:
        raise UserError(f"{name} has an unreadable header in line {header_line}: {problem}; fix it")
    if not header:
        raise UserError(f"{name} is empty; give a file with a header and at least one review")
    bad = next((h for h in header if not is_sound(h) or "\0" in h), None)
    if bad is not None:
        raise UserError(
            f"{name} has a column name that is not UTF-8 text, {readable(bad)[:60]!r}; "
            "save the file as UTF-8"
        )
    layout = replace(columns.layout(header, name), separator=separator)

    def rows() -> Iterator[_Row | Rejected]:
        for line, row, problem in records:
            if problem is None and len(row) == len(header):
                damage = _damage(row)
                if damage is None:
                    yield _Row(line, row, sum(map(len, feed.record)))
                else:
                    yield Rejected(line, damage, as_json(dict(zip(header, row, strict=True))))
                continue
            if problem is None:
                problem = FEWER if len(row) < len(header) else MORE
                # Most likely a quote that never closes has swallowed the lines that follow: only
                # the first line is lost, the others are read again.
                feed.take_back(kept=1)
            yield Rejected(line, problem, as_json({"line": feed.record[0]}))

    for good, rejected in _batches(rows()):
        texts = {
            target: pa.array([row.value[position] for row in good], pa.string())
            for target, position in layout.positions.items()
        }

        def raw(i: int, good: list[_Row] = good) -> str:
            return as_json(dict(zip(header, good[i].value, strict=True)))

        yield layout, Batch([row.line for row in good], texts, raw, rejected)


def _read_json_lines(feed: LineFeed, name: str, columns: Columns) -> Iterator[tuple[Layout, Batch]]:
    def rows() -> Iterator[_Row | Rejected]:
        first = True
        while True:
            feed.begin_record()
            text = next(feed, "")
            if not text:
                return
            if not text.strip():
                continue
            if first and text.lstrip().startswith("["):
                raise UserError(
                    f"{name} is a JSON array; write one object per line, as "
                    "`jq -c '.[]' FILE > FILE.jsonl` does"
                )
            first = False
            problem, record = _parse_object(text) if not feed.overlong else (TOO_LONG, {})
            if problem is None:
                yield _Row(feed.number, record, len(text))
            else:
                yield Rejected(feed.number, problem, as_json({"line": text}))

    layout: Layout | None = None
    for good, rejected in _batches(rows()):
        keys = list(dict.fromkeys(key for row in good for key in row.value))
        if layout is None:
            if not good and not rejected:
                raise UserError(f"{name} is empty; give a file with at least one review")
            if not good:
                first = rejected[0]
                raise UserError(
                    f"{name} has no JSON object: line {first.line} is {first.reason}; write one "
                    "object per line"
                )
            layout = columns.layout(keys, name)
        # Later objects may have keys that the first ones lacked.
        names = [*layout.names, *(key for key in keys if key not in layout.names)]
        texts = {
            target: pa.array(
                [_as_text(row.value.get(names[position])) for row in good], pa.string()
            )
            for target, position in columns.layout(names, name).positions.items()
        }

        def raw(i: int, good: list[_Row] = good) -> str:
            return as_json(good[i].value)

        yield layout, Batch([row.line for row in good], texts, raw, rejected)


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
    return _damage([*(part for part in value.values() if isinstance(part, str)), *value]), value


def _as_text(value: Any) -> str | None:
    """A JSON value as the text that a CSV file would hold for it."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _damage(texts: Sequence[str]) -> str | None:
    """What is wrong with the first text that is, or None."""
    for text in texts:
        if "\0" in text:
            return HOLDS_NUL
        if not is_sound(text):
            return NOT_UTF8
    return None

"""Text files by lines and by CSV records, in bounded memory, with their encoding detected."""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import IO

from components.shared.machine.errors import UserError

MAX_RECORD_CHARACTERS = 1_000_000
MAX_RECORD_LINES = 400
"""A longer record is damage, such as a quote that never closes, not a review."""

TOO_LONG = "the record is too long"
BAD_QUOTE = "a quote is not closed or not doubled"

_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_SURROGATE = re.compile("[\ud800-\udfff]")


class RunawayRecordError(Exception):
    """The record that is being read exceeds the bounds above."""


def open_text(stream: IO[bytes], name: str) -> io.TextIOWrapper:
    """Wrap a byte stream as text by its byte order mark; UTF-8 where it has none.

    Bytes that are not UTF-8 become lone surrogates, so that only their rows are lost. Line ends
    are not translated.

    Raises:
        UserError: If the file is empty or is UTF-16 without a mark.
    """
    buffered = io.BufferedReader(stream)  # type: ignore[arg-type]
    start = buffered.peek(4096)[:4096]
    if not start:
        raise UserError(f"{name} is empty; give a file with a header and at least one review")
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
            return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")
    if start.count(0) > len(start) // 4:
        raise UserError(
            f"{name} is not UTF-8 text (every other byte is NUL, as in UTF-16 without a byte "
            "order mark); save it as UTF-8"
        )
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="surrogateescape", newline="")


class LineFeed:
    """Hands physical lines to a record parser, counts them, and can take them back."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self._returned: deque[str] = deque()
        self._size = 0
        self.number = 0  # 1-based number of the line that was handed out last
        self.record: list[str] = []  # the lines handed out since `begin_record`
        self.overlong = False  # whether one of them had to be cut

    def __iter__(self) -> "LineFeed":
        return self

    def __next__(self) -> str:
        if len(self.record) >= MAX_RECORD_LINES or self._size > MAX_RECORD_CHARACTERS:
            raise RunawayRecordError
        line = self._returned.popleft() if self._returned else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self._size += len(line)
        if len(line) > MAX_RECORD_CHARACTERS:
            self.overlong = True
        self.record.append(line)
        return line

    def begin_record(self) -> None:
        """Forget the lines of the record before."""
        self.record = []
        self._size = 0
        self.overlong = False

    def take_back_all_but_first(self) -> None:
        """Hand out the record's lines again from its second one on."""
        self._returned.extendleft(reversed(self.record[1:]))
        self.number -= len(self.record) - 1
        del self.record[1:]

    def _read(self) -> str:
        line = self._stream.readline(MAX_RECORD_CHARACTERS + 1)
        if len(line) > MAX_RECORD_CHARACTERS and not line.endswith(("\n", "\r")):
            rest = line
            while rest and not rest.endswith(("\n", "\r")):
                rest = self._stream.readline(MAX_RECORD_CHARACTERS)
        return line


def csv_records(feed: LineFeed, delimiter: str) -> Iterator[tuple[int, list[str], str | None]]:
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


def is_sound(text: str) -> bool:
    """Whether a text can be written as UTF-8: without lone surrogates."""
    return text.isascii() or not _SURROGATE.search(text)


def readable(text: str) -> str:
    """A text in which bytes that were not UTF-8, and lone surrogates, are spelled out."""

    def spelled(match: re.Match[str]) -> str:
        code = ord(match.group())
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return _SURROGATE.sub(spelled, text)

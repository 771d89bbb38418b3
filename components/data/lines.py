"""Text files line by line, in bounded memory, with their encoding found out."""

import codecs
import io
from collections import deque
from typing import IO

from components.shared.machine.errors import UserError

MAX_RECORD_CHARACTERS = 1_000_000
"""A record longer than this is damage, such as a quote that never closes, not a review."""

MAX_RECORD_LINES = 400
"""Likewise for the lines that one record may span."""

_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class RunawayRecordError(Exception):
    """The record that is being read exceeds the bounds above."""


def open_text(stream: IO[bytes], name: str) -> io.TextIOWrapper:
    """Wrap a byte stream as text by its byte order mark; UTF-8 where it has none.

    Bytes that are not UTF-8 come through as lone surrogates, so that only their rows are lost.
    Line ends are kept as they are.

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
    """Hands physical lines to a record parser, counts them, and can take them back.

    Attributes:
        number: 1-based number of the line that was handed out last.
        record: The lines handed out since `begin_record`.
        overlong: Whether one of them had to be cut.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self._returned: deque[str] = deque()
        self._size = 0
        self.number = 0
        self.record: list[str] = []
        self.overlong = False

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


def is_sound(text: str) -> bool:
    """Whether a text can be written as UTF-8: without lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def readable(text: str) -> str:
    """A text in which bytes that were not UTF-8, and lone surrogates, are spelled out."""
    if is_sound(text):
        return text
    return "".join(
        character
        if not "\ud800" <= character <= "\udfff"
        else f"\\x{ord(character) - 0xDC00:02x}"
        if "\udc80" <= character <= "\udcff"
        else f"\\u{ord(character):04x}"
        for character in text
    )

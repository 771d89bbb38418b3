"""Text files by lines and by CSV records, in bounded memory."""

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

MAX_RECORD_CHARACTERS = 1_000_000
MAX_RECORD_LINES = 400
"""A longer record is damage, such as a quote that never closes, not a review."""

SEPARATORS = (",", ";", "\t", "|")

TOO_LONG = "the record is too long"
BAD_QUOTE = "a quote is not closed or not doubled"

_SAID = re.compile(r'"?sep=(.)"?[\r\n]*')  # the first line, which names the separator to Excel
_SURROGATE = re.compile("[\ud800-\udfff]")


class RunawayRecordError(Exception):
    """The record that is being read exceeds the bounds above."""


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

    def take_back(self, kept: int = 0) -> None:
        """Hand out the record's lines again, but for the first `kept` of them."""
        self._returned.extendleft(reversed(self.record[kept:]))
        self.number -= len(self.record[kept:])
        del self.record[kept:]

    def _read(self) -> str:
        line = self._stream.readline(MAX_RECORD_CHARACTERS + 1)
        if len(line) > MAX_RECORD_CHARACTERS and not line.endswith(("\n", "\r")):
            rest = line
            while rest and not rest.endswith(("\n", "\r")):
                rest = self._stream.readline(MAX_RECORD_CHARACTERS)
        return line


def separator_of(feed: LineFeed, usual: str, recognised: Callable[[Sequence[str]], int]) -> str:
    """What separates the columns of a file, whose header is read and taken back.

    It is what Excel's line `sep=;` says, or that one of `SEPARATORS` under which the header holds
    most columns that are recognised; the usual one where none is better.
    """
    feed.begin_record()
    if said := _SAID.fullmatch(next(feed, "")):
        return said.group(1)
    feed.take_back()
    found = {}
    for separator in dict.fromkeys((usual, *SEPARATORS)):
        _, header, _ = next(csv_records(feed, separator), (0, [], None))
        feed.take_back()
        count = recognised(header)
        found[separator] = (count, 0 if count else len(header))
    return max(found, key=lambda separator: found[separator])


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
            feed.take_back(kept=1)
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            yield line, [], problem
            continue
        if feed.overlong:
            feed.take_back(kept=1)
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

"""What a file is by its first bytes, and in which encoding its text is written."""

import bz2
import codecs
import gzip
import io
import logging
import lzma
import re
from typing import IO

from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

_DECOMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}

_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an Excel workbook or zip archive; save the sheet as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV"),
    (b"PAR1", "a Parquet file; give it a name that ends in .parquet"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it"),
    (b"%PDF", "a PDF; give the table that it was made from"),
    (b"<!doctype html", "a web page; give the address of the file itself"),
    (b"<html", "a web page; give the address of the file itself"),
)
"""First bytes, in lower case where they are words, and what a file that begins so is."""

_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_CHUNK = 1 << 20
_ASCII = bytes(range(128))
_NOT_IN_CP1252 = re.compile(b"[\x81\x8d\x8f\x90\x9d]")
_NOT_WESTERN = re.compile(
    b"[\x80-\xff]{3,}|(?<=[A-Za-z])[\x80-\x84\x86-\x89\x8b\x93-\x95\x98\x99\x9b"
    b"\xa1-\xa9\xab\xac\xae-\xb3\xb5\xb6\xb8\xb9\xbb-\xbf](?=[A-Za-z])"
)
"""Words without ASCII, and symbols of cp1252 between letters."""
_DAMAGE = re.compile("[\udc80-\udcff]")


def decompressed(stream: IO[bytes], name: str) -> IO[bytes]:
    """The bytes of a text file, unpacked if they are gzip, bzip2 or xz, whatever its name says.

    Args:
        stream: A seekable stream at its start.
        name: The file's name for messages.

    Raises:
        UserError: If it is not a text file, such as a workbook.
    """
    start = stream.read(64)
    stream.seek(0)
    for mark, opened in _DECOMPRESSED.items():
        if start.startswith(mark):
            return opened(stream, "rb")  # type: ignore[return-value]
    for mark, kind in _FOREIGN:
        if start.startswith(mark) or start.lstrip().lower().startswith(mark):
            raise UserError(f"{name} is {kind}")
    return stream


def open_text(stream: IO[bytes], name: str) -> io.TextIOWrapper:
    """Open bytes as text in the encoding that they are in; line ends are not translated.

    A byte order mark decides; else it is UTF-8, or cp1252 (which Latin-1 is part of) where that
    explains the file better. In UTF-8, damaged bytes become lone surrogates, so that only their
    rows are lost.

    Args:
        stream: A seekable stream at its start; it is read twice where there is no mark.
        name: The file's name for messages.

    Raises:
        UserError: If the file is empty or is UTF-16 without a mark.
    """
    start = stream.read(4096)
    stream.seek(0)
    if not start:
        raise UserError(f"{name} is empty; give a file with a header and at least one review")
    encoding = next((called for mark, called in _MARKS if start.startswith(mark)), "")
    if not encoding and start.count(0) > len(start) // 4:
        raise UserError(
            f"{name} is not UTF-8 text (every other byte is NUL, as in UTF-16 without a byte "
            "order mark); save it as UTF-8"
        )
    if not encoding:
        encoding = "utf-8" if _is_utf8(stream) or not _is_cp1252(stream) else "cp1252"
        stream.seek(0)
    if encoding == "cp1252":
        logger.warning(
            "%s is not UTF-8 and is read as cp1252 (Latin-1); if letters come out wrong, save it "
            "as UTF-8",
            name,
        )
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    buffered = io.BufferedReader(stream)  # type: ignore[arg-type]
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")


def _is_utf8(stream: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := stream.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    finally:
        stream.seek(0)
    return True


def _is_cp1252(stream: IO[bytes]) -> bool:
    """Whether bytes that are not UTF-8 all through read as a Western European text.

    They do if fewer of their characters are whole in UTF-8 than damaged, every byte has a meaning,
    and those beyond ASCII are letters here and there: neither whole words, as in Cyrillic, nor
    symbols inside of words, as where a DOS or Polish file is read so.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    damaged = whole = high = odd = 0
    while chunk := stream.read(_CHUNK):
        if _NOT_IN_CP1252.search(chunk):
            return False
        beyond = decoder.decode(chunk)
        lost = len(_DAMAGE.findall(beyond))
        damaged += lost
        whole += len(beyond) - len(beyond.encode("ascii", "ignore")) - lost
        high += len(chunk.translate(None, _ASCII))
        odd += sum(map(len, _NOT_WESTERN.findall(chunk)))
    return damaged > whole and odd <= 0.1 * high

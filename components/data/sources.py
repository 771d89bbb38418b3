"""From a data URI to the files behind it, wherever they lie."""

import logging
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from components.data.encodings import decompressed
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

SAMPLE = Path(__file__).with_name("sample_reviews.csv")
"""The bundled sample, read where the URI is empty or "sample"."""

FORMATS: dict[str, str] = {
    **{".csv": "csv", ".tsv": "tsv"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
    **{".parquet": "parquet", ".pq": "parquet"},
}
"""File name endings and the format of each."""

COMPRESSIONS: tuple[str, ...] = (".gz", ".bz2", ".xz")
"""Further endings that text formats may carry; what a file is, its first bytes say."""

_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "hf": "huggingface_hub",
}
_LOCAL = ("file", "local")
_WEB = ("http", "https")


@dataclass(frozen=True)
class Source:
    """One file to read."""

    name: str  # its path or URI without credentials, for messages and the quarantine file
    format: str  # one of the values of `FORMATS`
    path: str  # its path in the file system
    filesystem: Any  # the fsspec file system that holds it

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file's bytes, seekable and unpacked; an error while reading is a `UserError`."""
        with explained(self.name, remote=not _is_local(self.filesystem)):
            # Web servers need not support reading from the middle: block size 0 reads through.
            web = self.path.startswith(("http://", "https://"))
            options = {"block_size": 0} if web else {}
            with (
                self.filesystem.open(self.path, "rb", **options) as stream,
                tempfile.TemporaryFile() if web else nullcontext(stream) as seekable,
            ):
                if web:
                    shutil.copyfileobj(stream, seekable)
                    seekable.seek(0)
                yield seekable if self.format == "parquet" else decompressed(seekable, self.name)


def find_sources(data_uri: str) -> list[Source]:
    """The review files that a URI names, sorted by name.

    A folder means the files directly in it that have a known ending, except names that begin with
    a dot or an underscore. Glob patterns are expanded, except on the web.

    Args:
        data_uri: A path or any URI that fsspec knows; empty or "sample" for the bundled sample.

    Raises:
        UserError: If nothing readable is there, or the package for its protocol is missing.
    """
    import fsspec

    uri = data_uri.strip()
    uri = str(SAMPLE) if uri in ("", "sample") else uri
    shown = without_credentials(uri)
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    with explained(shown, remote=protocol not in _LOCAL):
        try:
            filesystem, path = fsspec.core.url_to_fs(uri)
        except ImportError:
            package = _PACKAGES.get(protocol)
            remedy = f"pip install '{package}'" if package else "install what fsspec asks for"
            raise UserError(
                f"{shown} needs a package for {protocol}:// that is not installed; {remedy}"
            ) from None
        except ValueError:
            raise UserError(
                f"{shown} begins with {protocol}://, which is not known; use a path, or a URI "
                "with https, s3, gs or hf"
            ) from None
        if protocol in _WEB or filesystem.isfile(path):
            return [Source(shown, _format_of(path, shown), path, filesystem)]
        if filesystem.isdir(path):
            listed = filesystem.ls(path, detail=False)
        elif any(sign in uri for sign in "*?["):
            listed = filesystem.glob(path)
        else:
            raise UserError(f"{shown} does not exist; check the path")
        paths = [p for p in listed if _known(p) and filesystem.isfile(p)]
    if not paths:
        raise UserError(
            f"{shown} holds no review file; it needs at least one that ends in {_known_endings()}"
        )
    prefix = "" if _is_local(filesystem) else f"{protocol}://"
    return [Source(f"{prefix}{p}", _format_of(p, p), p, filesystem) for p in sorted(paths)]


def without_credentials(uri: str) -> str:
    """A URI without user, password and query string, which may hold a signature."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def explained(name: str, *, remote: bool) -> Iterator[None]:
    """Turn what file systems raise while reading `name` into a `UserError` with the remedy.

    Every storage client has exceptions of its own, so that for a remote file any exception counts
    as an error of the address, the network or the rights.
    """
    try:
        yield
    except (UserError, GeneratorExit, KeyboardInterrupt):
        raise
    except FileNotFoundError as error:
        missing = "cannot be found or reached; check the address and the network"
        words = missing if remote else "does not exist; check the path"
        raise UserError(f"{name} {words}") from error
    except PermissionError as error:
        raise UserError(f"{name} may not be read; check its permissions") from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{name} is incomplete: its compressed data end early or are damaged; copy it again"
        ) from error
    except Exception as error:
        if not remote and not isinstance(error, OSError):
            raise
        words = str(error).strip().splitlines()
        detail = f"{type(error).__name__}: {words[0][:200]}" if words else type(error).__name__
        remedy = "check the address, the network and your credentials" if remote else "check it"
        raise UserError(f"{name} cannot be read ({detail}); {remedy}") from error


def _is_local(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return any(p in _LOCAL for p in ([protocol] if isinstance(protocol, str) else protocol))


def _endings_of(path: str) -> tuple[str, str]:
    """The ending that names the format and, if any, that of the compression."""
    path = urlsplit(path).path if path.startswith(("http://", "https://")) else path
    suffixes = [suffix.casefold() for suffix in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return (suffixes[-2] if len(suffixes) > 1 else ""), suffixes[-1]
    return (suffixes[-1] if suffixes else ""), ""


def _known(path: str) -> bool:
    return _endings_of(path)[0] in FORMATS and PurePosixPath(path).name[:1] not in "._"


def _format_of(path: str, shown: str) -> str:
    ending, compression = _endings_of(path)
    if ending not in FORMATS:
        raise UserError(
            f"{shown} is of an unknown kind; use a file that ends in {_known_endings()}"
        )
    if FORMATS[ending] == "parquet" and compression:
        raise UserError(f"{shown} is a compressed Parquet file; decompress it first")
    return FORMATS[ending]


def _known_endings() -> str:
    return ", ".join(FORMATS) + " (text also with .gz, .bz2 or .xz)"

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
from components.data.lines import readable
from components.shared.machine.commands import install_command
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

_EXTRAS = {
    **dict.fromkeys(("s3", "s3a", "gs", "gcs"), "cloud"),
    **dict.fromkeys(("http", "https", "hf"), "data"),
}
SILENCE_SECONDS = 60
"""A server that sends nothing for so long is given up; a whole file may take any time."""

_STATUSES = {
    401: "asks for credentials (401); give them, as in https://USER:PASSWORD@host/file.csv",
    403: "may not be read (403); check your rights, or whether a signed address has expired",
    404: "does not exist (404); check the address",
    410: "does not exist any more (410); check the address",
    429: "is not sent, because its server has been asked too often (429); try again later",
}
"""What a web server's answer means."""

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
    uri = data_uri.strip()
    uri = str(SAMPLE) if uri in ("", "sample") else uri
    protocol, slashes, rest = uri.partition("://")
    protocol = protocol.lower() if slashes else "file"
    uri = f"{protocol}{slashes}{rest}" if slashes else uri
    shown = readable(without_credentials(uri))
    filesystem, path = _opened_file_system(uri, shown, protocol)
    with explained(shown, remote=not _is_local(filesystem)):
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
    names = {path: readable(f"{prefix}{path}") for path in sorted(paths)}
    return [Source(name, _format_of(path, name), path, filesystem) for path, name in names.items()]


def _opened_file_system(uri: str, shown: str, protocol: str) -> tuple[Any, str]:
    """The file system of a URI and the path in it; a `UserError` names a package that is missing.

    A web server may take as long as it likes over a file, but not be silent; the machine's proxy
    settings count.
    """
    import fsspec

    options = {}
    with explained(shown, remote=True):
        try:
            if protocol in _WEB:
                import aiohttp

                waits = dict.fromkeys(("connect", "sock_read"), SILENCE_SECONDS)
                silence = aiohttp.ClientTimeout(total=None, **waits)
                options = {"client_kwargs": {"timeout": silence, "trust_env": True}}
            return fsspec.core.url_to_fs(uri, **options)
        except ImportError:
            extra = _EXTRAS.get(protocol)
            remedy = install_command(extra) if extra else "install what fsspec asks for"
            raise UserError(
                f"{shown} needs a package for {protocol}:// that is not installed; {remedy}"
            ) from None
        except ValueError:
            raise UserError(
                f"{shown} begins with {protocol}://, which is not known; use a path, or a URI "
                "with https, s3, gs or hf"
            ) from None


def without_credentials(uri: str) -> str:
    """A URI without user, password and query string, which may hold a signature."""
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UserError(f"the address of the data cannot be read ({error}); check it") from None
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
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{name} is incomplete: its compressed data end early or are damaged; copy it again"
        ) from error
    except Exception as error:
        if not remote and not isinstance(error, OSError):
            raise
        raise UserError(f"{name} {_in_words(error, remote)}") from error


def _in_words(error: Exception, remote: bool) -> str:
    """What happened to a file, and the remedy."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    statuses = [one.status for one in chain if isinstance(getattr(one, "status", None), int)]
    if statuses and remote:
        status = statuses[0]
        kind = "is not sent, because its server failed" if status >= 500 else "is refused"
        return _STATUSES.get(status, f"{kind} ({status}); try again later or ask its owner")
    if any(isinstance(one, TimeoutError) for one in chain):
        return f"is not sent: its server was silent for {SILENCE_SECONDS} s; try again later"
    if isinstance(error, FileNotFoundError):
        missing = "cannot be found or reached; check the address and the network"
        return missing if remote else "does not exist; check the path"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    words = str(error).strip().splitlines()
    detail = f"{type(error).__name__}: {words[0][:200]}" if words else type(error).__name__
    remedy = "check the address, the network and your credentials" if remote else "check it"
    return f"cannot be read ({detail}); {remedy}"


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

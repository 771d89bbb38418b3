"""The walk through everything that lies in files: where a review is, and files without it."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.personal_data.databases import MAGIC, delete_rows, rows_in
from components.personal_data.formats import clean_other, clean_parquet, cleaner_of
from components.personal_data.wanted import Wanted
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole
from components.shared.records.file_list import FILE_LIST

logger = logging.getLogger(__name__)

_BODY, _TITLE = "review_body", "title"


@dataclass(frozen=True)
class Find:
    """A file that holds the review."""

    path: Path
    rows: int  # Rows, lines or parts of it; 1 for a page.
    tells_text: bool = False  # By this file others are recognised: it goes last.


def wanted_of(review_id: str, roots: Sequence[Path], text: str = "") -> Wanted:
    """A review with the texts that are known of it, distinguished from those of all others.

    Args:
        review_id: Its id.
        roots: Folders with the Parquet files that know its texts: it may have changed.
        text: A part of its text that is to be looked for as well, whosever it is.
    """
    own: set[tuple[str | None, str | None]] = set()
    others: set[str] = set()
    for path in files_below(roots):
        if not _is_parquet(path):
            continue
        with _errors_of(path):
            for key, title, body in _texts_in(path):
                if key == review_id:
                    own.add((title, body))
                elif key and body:
                    others.add(body)
    wanted = Wanted.of(review_id, own)
    if wanted.pieces:
        wanted = wanted.without_common(others)
    if text:
        given = Wanted.of(review_id, [(None, text)])
        pieces, raw = wanted.pieces + given.pieces, wanted.raw_pieces + given.raw_pieces
        wanted = replace(wanted, pieces=pieces, raw_pieces=raw)
    return wanted


def _texts_in(path: Path) -> Iterator[tuple[str | None, str | None, str | None]]:
    """Id, title and body of each row, where a Parquet file has an id and a body."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        body = _BODY if _BODY in names else "text"
        if "review_id" not in names or body not in names:
            return
        wanted = [name for name in ("review_id", _TITLE, body) if name in names]
        for row in file.read(columns=wanted).to_pylist():
            if row[body]:
                yield row["review_id"], row.get(_TITLE), row[body]


def find(wanted: Wanted, roots: Sequence[Path]) -> list[Find]:
    """Each file that holds the review."""
    finds = []
    for path in files_below(roots):
        with _errors_of(path):
            if _is_database(path):
                rows = rows_in(path, wanted)
            else:
                clean = cleaner_of(path)
                rows = clean(path, wanted, None) if clean else 0
            if rows:
                finds.append(Find(path, rows, _tells_text(path)))
    return sorted(finds, key=lambda one: (one.tells_text, one.path))


def remove(one: Find, wanted: Wanted) -> None:
    """Take the review out of a file; whole or not at all.

    Raises:
        UserError: If the file cannot be changed, and what to do about it.
    """
    path = one.path
    with _errors_of(path):
        if _is_database(path):
            delete_rows(path, wanted)
            return
        clean = cleaner_of(path)
        if clean is None or clean is clean_other or (path.parent / FILE_LIST).is_file():
            raise UserError(
                f"{path} holds the review, and is not a file that may be changed; delete it, and "
                "run again"
            )
        mode = path.stat().st_mode
        with replaced_when_whole(path) as draft:
            if not clean(path, wanted, draft):
                raise UserError(f"{path} was changed by another process; run again")
            draft.chmod(mode)


def files_below(roots: Sequence[Path]) -> Iterator[Path]:
    """All files below the folders, each once; links are not followed.

    Raises:
        UserError: If a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); allow it") from None

    seen: set[Path] = set()
    for root in roots:
        for folder, _, names in os.walk(root.resolve(), onerror=refuse):
            for name in sorted(names):
                path = Path(folder, name)
                # What SQLite keeps beside a database is looked after with it.
                ours = path.is_file() and not path.is_symlink() and path not in seen
                if ours and not name.endswith(("-wal", "-shm", "-journal")):
                    seen.add(path)
                    yield path


class _errors_of:  # noqa: N801 (it is used as a function)
    """Errors of a file's content in a sentence that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        import pyarrow as pa

        if isinstance(error, FileNotFoundError):
            return True  # It was deleted meanwhile.
        if isinstance(error, UserError):
            return False
        if isinstance(error, OSError | pa.ArrowException | ValueError):
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{self._path} cannot be read ({reason}); restore or delete it, and run again"
            ) from None
        return False


def _starts_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(magic)) == magic
    except FileNotFoundError:
        return False


def _is_parquet(path: Path) -> bool:
    return _starts_with(path, b"PAR1")


def _is_database(path: Path) -> bool:
    return _starts_with(path, MAGIC)


def _tells_text(path: Path) -> bool:
    """Whether rows of a file have both the review's id and its text."""
    import pyarrow.parquet as pq

    if not _is_parquet(path) or cleaner_of(path) is not clean_parquet:
        return False
    names = pq.read_schema(path).names
    return "review_id" in names and bool({_BODY, "text"} & set(names))

"""Reading and writing artifacts: whole or not at all, and recognisable by their content."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.shared.machine.errors import UserError

CHECKPOINT_DIR = "CHECKPOINT_DIR"
"""Environment variable that names the folder for what must outlive a killed step."""


@contextmanager
def replaced_when_whole(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target` to write a file or folder to; rename it at the end.

    If the body raises, nothing of it stays and what stood at `target` before stands there still.

    Args:
        target: Final path; its parent is made if missing.

    Yields:
        The path to write to. It does not exist yet.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    draft = workshop / target.name
    try:
        yield draft
        replaced = workshop / "replaced"
        if target.is_dir():
            target.rename(replaced)
        try:
            draft.replace(target)
        except OSError:
            if replaced.exists():
                replaced.rename(target)
            raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON that is strict (no NaN), indented and whole or absent."""
    with replaced_when_whole(path) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; `UserError` if it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the step that writes it first") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); write it again") from None


def write_parquet(path: str | Path, table: pa.Table) -> None:
    """Write an Arrow table as one Parquet file (zstd), whole or absent."""
    import pyarrow.parquet as pq

    with replaced_when_whole(path) as draft:
        pq.write_table(table, draft, compression="zstd")


def read_parquet(path: str | Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file and cast it to a schema, or to the columns that are named of it.

    Raises:
        UserError: If the file is missing, unreadable, or lacks a column of the schema.
    """
    import pyarrow.parquet as pq

    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        table = pq.ParquetFile(path).read(columns=wanted.names)
        missing = [name for name in wanted.names if name not in table.column_names]
        if missing:
            raise UserError(f"{path} has no column {', '.join(missing)}; write it again")
        return table.select(wanted.names).cast(wanted)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the step that writes it first") from None
    except UserError:
        raise
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise UserError(f"{path} does not hold the expected columns: {error}") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file that other processes wait for; the system frees it if this one is killed."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def sha256_of_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def surviving_folder(*facts: Any) -> Path | None:
    """A folder below `CHECKPOINT_DIR` for what these JSON-ready facts decide; None if unset."""
    root = os.environ.get(CHECKPOINT_DIR)
    if not root:
        return None
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    return Path(root) / name

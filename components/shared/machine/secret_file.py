"""Secrets of one machine: files that are made on first use and that nobody else can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def secret_of(file: Path) -> str:
    """What a file of secrets holds; made with 64 random hexadecimal digits where it is missing."""
    if not file.exists():
        _make(file)
    return file.read_text(encoding="ascii", errors="replace").strip()


def _make(file: Path) -> None:
    """Make the file, readable to its owner alone; of two who make it at once, one wins."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)

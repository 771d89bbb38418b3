"""The SQLite files of one machine's state: the registry, the feature store's two."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from components.shared.machine.errors import UserError

_WAIT_SECONDS = 60
"""For another process that is writing."""


def check_database(database: Path) -> None:
    """Raise where an SQLite file is damaged or cannot be used; one that is missing will be made.

    Raises:
        UserError: Naming the file and what can be done.
    """
    try:
        if not database.exists():
            return
        # For writing, since what a killed process left half-written is rolled back on opening.
        address = f"{database.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=_WAIT_SECONDS)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.Error, OSError) as error:
        found = str(error)
    if "locked" in found:
        return  # somebody writes, which a damaged file would not have let them
    if found != "ok":
        raise UserError(
            f"the database {database} cannot be used ({' '.join(found.split())}); restore it from "
            f"a copy, or move {database.parent} away and run again to begin a new one"
        )
    if not os.access(database, os.W_OK):
        raise UserError(
            f"the database {database} may not be written; allow it, or name another folder"
        )

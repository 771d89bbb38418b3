"""SQLite databases: rows of a review deleted, and their bytes out of the file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from components.personal_data.wanted import ID_COLUMNS, Wanted
from components.shared.machine.errors import UserError

MAGIC = b"SQLite format 3\0"

_WAIT_SECONDS = 20.0
"""For another process that is writing."""
_ENTITY_KEY = "entity_key"
"""Feast's column for the id, in a form of its own."""
_ENTITY_KEY_VERSION = 3


def entity_keys(wanted: Wanted) -> list[bytes]:
    """The review's ids as Feast's online stores write them."""
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return [
        serialize_entity_key(
            EntityKey(join_keys=["review_id"], entity_values=[Value(string_val=one)]),
            _ENTITY_KEY_VERSION,
        )
        for one in sorted(wanted.ids)
    ]


def rows_in(database: Path, wanted: Wanted) -> int:
    """Rows of the review in a database, and 1 where only bytes of its text are left.

    Raises:
        UserError: If the database cannot be read.
    """
    with _opened(database) as connection:
        rows = sum(
            connection.execute(f"SELECT count(*) FROM {where}", values).fetchone()[0]  # noqa: S608
            for where, values in _rows_by_id(connection, wanted)
        )
        elsewhere = len(_tables_with_text(connection, wanted))
    return rows or elsewhere or int(_is_in_bytes(database, wanted))


def delete_rows(database: Path, wanted: Wanted) -> int:
    """Delete the rows of the review and write the database anew, without what was deleted.

    Raises:
        UserError: If another process has it locked, or it is a table that is not ours to change.
    """
    with _opened(database) as connection:
        if held := _tables_with_text(connection, wanted):
            raise UserError(
                f"{database} holds the review in {', '.join(held)}; delete it by the program that "
                "the database belongs to, and run again"
            )
        connection.execute("PRAGMA secure_delete = ON")
        deleted = 0
        for where, values in list(_rows_by_id(connection, wanted)):
            deleted += connection.execute(f"DELETE FROM {where}", values).rowcount  # noqa: S608
        connection.commit()
        # Deleted rows of other tables may still be in free pages.
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return deleted


class _opened(closing):  # noqa: N801 (it is used as a function)
    """A connection whose errors say which database they are of, and what to do."""

    def __init__(self, database: Path) -> None:
        self.database = database
        super().__init__(sqlite3.connect(database, timeout=_WAIT_SECONDS))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        super().__exit__()
        if isinstance(error, sqlite3.Error):
            raise UserError(
                f"the database {self.database} cannot be purged ({error}); stop the server that "
                "uses it, and run again"
            ) from None


def _columns(connection: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    """Each table and its columns."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        quoted = _quoted(table)
        yield table, [row[1] for row in connection.execute(f"PRAGMA table_info({quoted})")]


def _rows_by_id(
    connection: sqlite3.Connection, wanted: Wanted
) -> Iterator[tuple[str, list[str] | list[bytes]]]:
    """Table and condition of each that names the review, for a statement to end with."""
    for table, columns in _columns(connection):
        for column in (*ID_COLUMNS, _ENTITY_KEY):
            if column in columns:
                values: list = sorted(wanted.ids)
                if column == _ENTITY_KEY:
                    values = entity_keys(wanted)
                marks = ", ".join("?" * len(values))
                yield f"{_quoted(table)} WHERE {_quoted(column)} IN ({marks})", values


def _tables_with_text(connection: sqlite3.Connection, wanted: Wanted) -> list[str]:
    """Tables that name no review and hold a piece of its text."""
    found = []
    for table, columns in _columns(connection):
        if {*ID_COLUMNS, _ENTITY_KEY} & set(columns):
            continue
        for column in columns:
            name = _quoted(column)
            cells = connection.execute(
                f"SELECT {name} FROM {_quoted(table)} "  # noqa: S608 - names come from the database
                f"WHERE typeof({name}) = 'text' AND length({name}) >= 12"
            )
            if any(wanted.is_in(cell) for (cell,) in cells):
                found.append(table)
                break
    return found


def _is_in_bytes(database: Path, wanted: Wanted) -> bool:
    content = database.read_bytes()
    return any(piece in content for piece in wanted.raw_pieces)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

"""The online feature store where it is a Postgres server; an SQLite file is found as a file."""

from collections.abc import Callable
from typing import Any

from components.personal_data.databases import entity_keys
from components.personal_data.wanted import Wanted
from components.shared.machine.feature_store import open_existing_store


class PostgresOnlineStore:
    """The rows of reviews in the online store that the environment names."""

    name = "online feature store"

    def count(self, ids: frozenset[str]) -> int:
        """How many rows are of these reviews."""
        return self._sum("SELECT 1 FROM {} WHERE entity_key = ANY(%s)", ids)

    def delete(self, ids: frozenset[str]) -> int:
        """Delete them; the number that were there."""
        return self._sum("DELETE FROM {} WHERE entity_key = ANY(%s)", ids)

    def _sum(self, statement: str, ids: frozenset[str]) -> int:
        """Rows that a statement meets in the tables of all views, which are locked meanwhile."""
        from psycopg import sql

        store = open_existing_store()
        keys, rows = entity_keys(Wanted(ids)), 0
        provider: Any = store._get_provider()
        with provider.online_store._get_conn(store.config) as connection, connection.cursor() as at:
            for table in _tables(at, store.project):
                at.execute(sql.SQL(statement).format(sql.Identifier(table)), (keys,))
                rows += at.rowcount
            connection.commit()
        return rows


def _tables(cursor: Any, project: str) -> list[str]:
    """Tables of the project's views, those of earlier releases too."""
    cursor.execute(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'entity_key' "
        "AND table_schema = current_schema() AND starts_with(table_name, %s)",
        (f"{project}_",),
    )
    return [name for (name,) in cursor.fetchall()]


def online_store() -> PostgresOnlineStore | None:
    """The Postgres server, where the environment's feature store has one."""
    store = _or_none(open_existing_store)
    if store is None or store.config.online_store.type != "postgres":
        return None
    return PostgresOnlineStore()


def _or_none(opened: Callable[[], Any]) -> Any:
    from components.shared.machine.errors import UserError

    try:
        return opened()
    except UserError as error:
        if "there is no feature store" in str(error):
            return None
        raise

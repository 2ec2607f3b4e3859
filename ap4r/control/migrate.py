"""The use cases of a store's tables: create or migrate them, check their version, and return the SQL."""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.storage.schema.version import check_version
from ap4r.storage.sql_store import SqlStore


@dataclass(frozen=True, slots=True)
class Migration:
    """The version of a store's tables before and after. `before` is None if there were no tables."""

    store: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class MigrationSql:
    """The statements that `migrate` would run; empty when there is nothing to do."""

    store: str
    sql: str


def migrate(store: SqlStore) -> Migration:
    """Create the tables of a store, or migrate them to the version that this code needs."""
    before = store.version()
    store.migrate()
    return Migration(store.name, before, store.version())


def check_tables(store: SqlStore, table_prefix: str) -> Migration:
    """Return the version of a store's tables, and change nothing.

    :raises SchemaMismatch: this code cannot run on them; the text names the command that migrates them.
    """
    found = store.version()
    check_version(found, store.name, table_prefix)
    return Migration(store.name, found, found)


def migration_sql(store: SqlStore) -> MigrationSql:
    """Return the SQL that `migrate` would run now, and change nothing."""
    return MigrationSql(store.name, store.script())

"""The tables of ap4r in the application's own database: checked once, then written in its transactions."""

from __future__ import annotations

import functools
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, func, make_url, select, text
from sqlalchemy.exc import DBAPIError

from ap4r.errors import SchemaMismatch, StoreUnavailable, StoreUnusable
from ap4r.message.message import Put
from ap4r.storage.access.transaction import Transaction
from ap4r.storage.app_connection.base import ForeignConnection
from ap4r.storage.app_connection.dbapi import SqlSavepoint
from ap4r.storage.app_connection.lanes import BorrowedLanes
from ap4r.storage.databases import dialects
from ap4r.storage.databases.postgresql.search_path import find_schemas, several_schemas_text
from ap4r.storage.operations.dispatchers import Dispatchers
from ap4r.storage.operations.put import Puts
from ap4r.storage.schema.rows import id_bytes
from ap4r.storage.schema.tables import Schema
from ap4r.storage.schema.version import check_version, migrate_command
from ap4r.storage.store import StoreRules

_IDS_A_QUERY = 500
_THERE = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name",
    "mysql": "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = :name",
    "postgresql": "SELECT 1 WHERE to_regclass(:name) IS NOT NULL",
}
_ENGINES = "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE()"
#: Databases and prefixes whose tables were found right, and their schema. Only right ones are cached.
_known: dict[tuple[Hashable, str], _Known] = {}
#: A schema of PostgreSQL that was the only one with tables is considered the only one for so long.
_ONLY_ONE_SECONDS = 30.0


class _Known(NamedTuple):
    """The schema of the tables, and until when (monotonic) it need not be looked up."""

    namespace: str | None
    until: float


class _Spelling:
    """The part of a `Database` that statements need, for a connection that was opened elsewhere."""

    conflicts_at_commit = False

    def __init__(self, name: str, dialect: str) -> None:
        self.name = name
        self._dialect = dialect
        self.clock_sql = {"mysql": dialects.MYSQL_CLOCK, "postgresql": dialects.POSTGRESQL_CLOCK}.get(dialect)

    def now_at(self, connection: Connection) -> int:
        """Return the database's clock, in microseconds."""
        if self.clock_sql is None:
            return dialects.host_clock()
        return int(connection.execute(text(f"SELECT {self.clock_sql.replace(':', chr(92) + ':')}")).scalar_one())

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT that neither changes an existing row nor fails on it."""
        match self._dialect:
            case "mysql":
                return dialects.mysql_insert_new(table)
            case "postgresql":
                return dialects.postgresql_insert_new(table)
        return dialects.sqlite_insert_new(table)

    def insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows in the way that every driver supports."""
        connection.execute(table.insert(), [dict(row) for row in rows])

    def run_each(self, connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
        """Run statements in the driver's syntax, one after the other."""
        for statement, values in steps:
            connection.exec_driver_sql(statement, values)

    def run_many(self, connection: Connection, statement: str, rows: Sequence[Any]) -> None:
        """Run a statement in the driver's syntax for each of several rows."""
        connection.exec_driver_sql(statement, rows)


class Tables:
    """The tables under one prefix, in any database that a connection leads to.

    :param namespace: the schema of PostgreSQL that holds them, or None.
    """

    def __init__(self, prefix: str, namespace: str | None = None) -> None:
        self.schema = Schema(prefix, namespace)
        self._puts = Puts(self.schema, StoreRules(table_prefix=prefix))
        self._dispatchers = Dispatchers(self.schema)

    def check(self, foreign: ForeignConnection) -> Tables:
        """Check the tables and their version, once for each database; return the tables in their schema.

        In PostgreSQL that is the schema that the search_path leads to, else the only one that has them.

        It runs within the open transaction, writes nothing, and does not make the transaction fail.

        :raises SchemaMismatch: they are missing or of another version; the text names the command to run.
        :raises StoreUnusable: they are of an engine without transactions, or in several schemas, none of which is in
            the search_path.
        """
        database, prefix = foreign.database, self.schema.prefix
        known = None if database is None else _known.get((database, prefix))
        if known is not None and time.monotonic() < known.until:
            return tables_of(prefix, known.namespace)
        connection = foreign.connection()
        namespace, until = _place(foreign, connection, self.schema.version_table)
        if known is not None and known.namespace == namespace:
            _known[database, prefix] = _Known(namespace, until)
            return tables_of(prefix, namespace)
        tables = tables_of(prefix, namespace)
        found = _found_version(connection, foreign.dialect, tables.schema)
        try:
            check_version(found, foreign.name, prefix)
        except SchemaMismatch as error:
            command = _command_without(foreign.name, prefix)
            if command is None:
                raise
            raise SchemaMismatch(error.store, error.found, error.expected, command) from None
        if foreign.dialect == "mysql":
            self._refuse_other_engines(connection, foreign.name)
        if database is not None:
            _known[database, prefix] = _Known(namespace, until)
        return tables

    def touch(self, foreign: ForeignConnection) -> None:
        """Begin the transaction on a server that begins it at the first table, and does not report it before."""
        if not foreign.is_within_transaction:
            foreign.execute(select(self.schema.messages.c.id).limit(0))
            # PyMySQL only learns it from answers without rows.
            SqlSavepoint(foreign.connection()).release()

    def transaction(self, foreign: ForeignConnection) -> Transaction:
        """Return what operations on the tables need, within the application's transaction."""
        name, connection = foreign.name, foreign.connection()
        database: Any = _Spelling(name, foreign.dialect)
        return Transaction(name, connection, self.schema, database, BorrowedLanes(self.schema))

    def write(self, foreign: ForeignConnection, put: Put) -> None:
        """Write a put for the first time, and check that its rows are there.

        :raises DBAPIError: the driver's error; some rows may be written, so roll back to where it began.
        :raises StoreUnavailable: there are too many lanes, or the rows are not there.
        """
        tx = self.transaction(foreign)
        self._puts.write(tx, [put])
        found = self._count(tx, [id_bytes(message.id) for message in put.messages])
        if found != len(put.messages):
            raise StoreUnavailable(foreign.name, f"{len(put.messages)} messages were written, {found} are there")

    def bells(self, foreign: ForeignConnection) -> list[str]:
        """Return the doorbells of the dispatchers that were seen recently."""
        found: Iterable[Any] = self._dispatchers.bells(self.transaction(foreign))
        return [bell.decode() if isinstance(bell, bytes) else bell for bell in found]

    def _count(self, tx: Transaction, ids: Sequence[bytes]) -> int:
        table, found = self.schema.messages, 0
        for start in range(0, len(ids), _IDS_A_QUERY):
            some = ids[start : start + _IDS_A_QUERY]
            statement = select(func.count()).select_from(table).where(table.c.id.in_(some))
            found += int(tx.connection.execute(statement).scalar_one())
        return found

    def _refuse_other_engines(self, connection: Connection, name: str) -> None:
        ours = {*self.schema.metadata.tables}
        rows = [tuple(_text(value) for value in row) for row in connection.execute(text(_ENGINES))]
        wrong = sorted(table for table, engine in rows if table in ours and engine.lower() != "innodb")
        if wrong:
            raise StoreUnusable(
                name, f"{', '.join(wrong)}: an engine without transactions; ALTER TABLE … ENGINE=InnoDB"
            )


@functools.lru_cache(maxsize=256)
def tables_of(prefix: str, namespace: str | None = None) -> Tables:
    """Return this process's tables of a prefix, in a schema of PostgreSQL if given."""
    return Tables(prefix, namespace)


def failure_of(error: DBAPIError, name: str) -> StoreUnavailable:
    """Return the store error for an error of our own statement. The driver's becomes its `__cause__` when raised."""
    problem = str(error.orig or error).strip().partition("\n")[0]
    return StoreUnavailable(name, problem, is_connection=True)


def _place(foreign: ForeignConnection, connection: Connection, table: str) -> tuple[str | None, float]:
    """Return the schema of the tables (None if there is nothing to name), and until when that is valid (monotonic)."""
    if foreign.dialect != "postgresql":
        return None, float("inf")
    found = find_schemas(connection, table)
    if found.names and found.namespace is None:
        raise StoreUnusable(foreign.name, several_schemas_text(found.names, table))
    # If there are several, each transaction may have another search_path.
    until = time.monotonic() + _ONLY_ONE_SECONDS if len(found.names) == 1 else float("-inf")
    return found.namespace, until


def _found_version(connection: Connection, dialect: str, schema: Schema) -> str | None:
    quote = connection.dialect.identifier_preparer.quote
    quoted = ".".join(quote(name) for name in (schema.namespace, schema.version_table) if name)
    name = quoted if dialect == "postgresql" else schema.version_table
    if connection.execute(text(_THERE[dialect]), {"name": name}).first() is None:
        return None
    quoted = quoted.replace(":", "\\:")
    version = connection.execute(text(f"SELECT version_num FROM {quoted}")).scalar()
    return None if version is None else _text(version)


def _command_without(name: str, prefix: str) -> str | None:
    """Return the command to show when the connection's own URL would not work as --store; None when it would."""
    url = make_url(name)
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        hint = "a database in memory belongs to its connection alone"
        return f"{migrate_command('sqlite:///FILE', prefix)}, and connect to that file: {hint}"
    if not url.database:
        store = url.set(database="DATABASE").render_as_string()
        return f"{migrate_command(store, prefix)}, and connect to that database: none is selected"
    return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""What differs between databases: connecting, beginning a write, reading the clock, interpreting an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from ap4r.errors import StoreError, StoreUnavailable
from ap4r.storage.schema.tables import Schema

Rows = Sequence[Mapping[str, Any]]


class RolledBack(StoreUnavailable):
    """The database rolled a transaction back by itself, or the connection was lost before its COMMIT was sent.

    Nothing was changed, and a retry may succeed at once.
    """


class Database(Protocol):
    """One database server or file."""

    @property
    def clock_sql(self) -> str | None:
        """The SQL expression that reads the store's clock, in microseconds; None if it is this host's clock."""

    @property
    def conflicts_at_commit(self) -> bool:
        """Whether writers conflict only at COMMIT, as on the nodes of a cluster, and not at the rows that they lock."""

    @property
    def moves_at_once(self) -> bool:
        """Whether one statement can read rows of one table, delete them there and insert them into another."""

    @property
    def connections(self) -> int:
        """How many were opened so far; the next one may lead to another server, which may lag behind the last one."""

    @property
    def name(self) -> str:
        """The URL without a password."""

    def engine(self) -> Engine:
        """Return the engine, which opens connections: a new one after a fork, after `close`, or for another file.

        What was learnt from a database is valid as long as this returns the same engine.
        """

    @property
    def engine_in_use(self) -> Engine | None:
        """The engine that `engine` last returned in this process, without a check of its file; None if there is none.

        Within a transaction it is certain: a transaction on another engine ends as `RolledBack`, and may be retried at
        once.
        """

    def is_there(self) -> bool:
        """Return whether there is a database to read. This never creates one."""

    def how_to_make(self, command: str) -> str:
        """Return what is missing when there is no database, and every command that is needed to create it."""

    def local_address(self, within_seconds: float) -> str:
        """Return this host's IP address on a connection to the database; "" if there is none."""

    def writing(self, within_seconds: float) -> AbstractContextManager[Connection]:
        """Open a write transaction: committed on a clean exit, rolled back on an exception.

        :param within_seconds: how long to wait for other writers.
        :raises DBAPIError: the driver's, for `meaning_of`.
        """

    def reading(self, within_seconds: float) -> AbstractContextManager[Connection]:
        """Open a connection on which each statement is committed by itself; its use must end in `within_seconds`."""

    def locate(self, connection: Connection, schema: Schema) -> None:
        """Make the statements about `schema` name the place in the database where its tables are, if there are any.

        :raises StoreUnusable: there are tables in several places, and it is ambiguous which ones are meant.
        """

    def make_tables(self, schema: Schema) -> None:
        """Create or migrate the tables; safe when several processes do it at once. Newer tables are not changed."""

    def now_at(self, connection: Connection) -> int:
        """Read the store's clock, in microseconds."""

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT that neither changes an existing row nor fails on it."""

    def delete(self, connection: Connection, table: Table, rows: Rows) -> int:
        """Delete rows, in as few round trips as the driver allows, each by the index of its key; return their number.

        :param rows: one or more, with the same columns: the first ones of the primary key, then further conditions.
        """

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert narrow rows, in as few round trips as the driver allows.

        :param rows: one or more, with the same columns.
        """

    def move(self, connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows) -> None:
        """Delete rows of `source` and insert them into `target`, in as few round trips as the database allows.

        :param key: the columns by which they are found in `source`.
        :param rows: one or more, as they are inserted.
        """

    def rows(self, connection: Connection, statement: str, values: Any) -> Sequence[Any]:
        """Run a query in the driver's syntax, and return all its rows as the driver returns them.

        :raises DBAPIError: the error of the driver.
        """

    def run_each(self, connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
        """Run several statements, in the driver's syntax, one after the other.

        :raises DBAPIError: the error of the driver.
        """

    def run_many(self, connection: Connection, statement: str, rows: Sequence[Any]) -> None:
        """Run a statement, in the driver's syntax, for each of several rows, in as few round trips as it allows.

        :raises DBAPIError: the error of the driver.
        """

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Return the store error for a driver's error, or None if the statement is at fault and not the store."""

    def close(self) -> None:
        """Close every connection."""


def delete_and_insert(
    database: Database, connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows
) -> None:
    """Move rows as `Database.move` does, where one statement cannot do it: delete them, then insert them."""
    database.delete(connection, source, [{name: row[name] for name in key} for row in rows])
    database.insert(connection, target, rows)

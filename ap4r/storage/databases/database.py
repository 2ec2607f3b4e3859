"""What differs between databases: how a connection is made, a write begins, a clock is read, an error is meant."""

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
    """The database undid a transaction on its own account, or lost it with the connection before its COMMIT was sent.

    Nothing was changed, and the same may succeed at once.
    """


class Database(Protocol):
    """One database server or file."""

    @property
    def clock_sql(self) -> str | None:
        """What reads the store's clock within a statement, in microseconds; None where it is this host's."""

    @property
    def conflicts_at_commit(self) -> bool:
        """Whether writers meet only at their COMMIT, as on the nodes of a cluster, and not at the rows they lock."""

    @property
    def moves_at_once(self) -> bool:
        """Whether one statement can read rows of one table, delete them there and insert them into another."""

    @property
    def connections(self) -> int:
        """How many were made so far: with the next the server may be another, which knows less than the last one."""

    @property
    def name(self) -> str:
        """The URL without a password."""

    def engine(self) -> Engine:
        """Give what makes the connections: another one after a fork, after `close`, or for another file.

        Whatever was learnt from a database holds for as long as its engine is given.
        """

    @property
    def engine_in_use(self) -> Engine | None:
        """The engine that `engine` gave last, in this process, without a look at its file; None where there is none.

        Within a transaction it is certain: one on another engine ends as `RolledBack`, and may be tried anew at once.
        """

    def is_there(self) -> bool:
        """Tell whether there is a database to read. Looking makes none."""

    def how_to_make(self, command: str) -> str:
        """Return what is missing of a database that is not there, and all that a person has to type to make it."""

    def local_address(self, within_seconds: float) -> str:
        """Return this host's IP address on a connection to the database; empty where there is none."""

    def writing(self, within_seconds: float) -> AbstractContextManager[Connection]:
        """Open a write transaction: committed on a clean exit, rolled back on an exception.

        :param within_seconds: how long to wait for others that write.
        :raises DBAPIError: the driver's, for `meaning_of`.
        """

    def reading(self, within_seconds: float) -> AbstractContextManager[Connection]:
        """Give a connection on which each statement stands for itself, to be over within so many seconds."""

    def locate(self, connection: Connection, schema: Schema) -> None:
        """Have the statements about `schema` name the place in the database where its tables are, if there are any.

        :raises StoreUnusable: they are in several, and nothing tells which are meant.
        """

    def make_tables(self, schema: Schema) -> None:
        """Make or move the tables; safe when several processes do it at once. Tables that are newer stay."""

    def now_at(self, connection: Connection) -> int:
        """Read the store's clock, in microseconds."""

    def insert_new(self, table: Table) -> Any:
        """Give an INSERT that leaves an existing row alone and does not fail."""

    def delete(self, connection: Connection, table: Table, rows: Rows) -> int:
        """Delete rows, in as few round trips as the driver allows, each found through the index of its key; count them.

        :param rows: one or more; the first columns of the primary key, the same in each, and what else they must have.
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
        """Run a query, in the driver's words, and give all its rows as the driver gives them.

        :raises DBAPIError: the driver's.
        """

    def run_each(self, connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
        """Run several statements, in the driver's words, one after the other.

        :raises DBAPIError: the driver's.
        """

    def run_many(self, connection: Connection, statement: str, rows: Sequence[Any]) -> None:
        """Run a statement, in the driver's words, for each of several rows; in as few round trips as it allows.

        :raises DBAPIError: the driver's.
        """

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Say what a driver's error means for the caller; None when it blames the statement, not the store."""

    def close(self) -> None:
        """Let go of every connection."""


def move_in_turn(
    database: Database, connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows
) -> None:
    """Move rows as `Database.move` does, where one statement cannot: delete them, then insert them."""
    database.delete(connection, source, [{name: row[name] for name in key} for row in rows])
    database.insert(connection, target, rows)

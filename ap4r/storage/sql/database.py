"""What differs between databases: how a connection is made, a write begins, a clock is read, an error is meant."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from ap4r.errors import StoreError
from ap4r.storage.sql.schema import Schema


class Database(Protocol):
    """One database server or file."""

    @property
    def name(self) -> str:
        """The URL without a password."""

    def engine(self) -> Engine:
        """Give what makes the connections: another one after a fork, after `close`, or for another file.

        Whatever was learnt from a database holds for as long as its engine is given.
        """

    def is_there(self) -> bool:
        """Tell whether there is a database to read. Looking makes none."""

    def writing(self, within_seconds: float) -> AbstractContextManager[Connection]:
        """Open a write transaction: committed on a clean exit, rolled back on an exception.

        :param within_seconds: how long to wait for others that write.
        :raises DBAPIError: the driver's, for `meaning_of`.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection on which each statement stands for itself."""

    def make_tables(self, schema: Schema) -> None:
        """Make or move the tables; safe when several processes do it at once. Tables that are newer stay."""

    def now_at(self, connection: Connection) -> int:
        """Read the store's clock, in microseconds."""

    def insert_new(self, table: Table) -> Any:
        """Give an INSERT that leaves an existing row alone and does not fail."""

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Say what a driver's error means for the caller; None when it blames the statement, not the store."""

    def close(self) -> None:
        """Let go of every connection."""

"""The interface to an application's own connection, whatever library it comes from.

`recognise()` (`ap4r.storage.app_connection.detect`) returns one for a Session, a Connection, a Django alias or a DB-API
connection; `ConnectionBlock` begins and ends transactions on it; `tables_of()` checks the tables of ap4r beside those
of the application, and writes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Executable


class Savepoint(Protocol):
    """A transaction within a transaction, in the way that its library requires."""

    @property
    def is_active(self) -> bool:
        """Return whether it can still be released, as far as its library knows."""

    def release(self) -> None:
        """Keep what was done since it began. Raises if the transaction around it has ended meanwhile."""

    def rollback(self) -> None:
        """Undo what was done since it began; a transaction that has failed since can be used again."""


class ForeignConnection(Protocol):
    """A connection that belongs to the application. It commits and rolls back only in `commit` and `rollback`.

    Statements raise SQLAlchemy's error around the driver's (`sqlalchemy.exc.DBAPIError`).
    """

    @property
    def what(self) -> str:
        """The kind of connection, for errors: "a SQLAlchemy Session", "a psycopg connection"."""

    @property
    def name(self) -> str:
        """The URL of its database as `ap4r migrate --store` accepts it, without a password."""

    @property
    def dialect(self) -> str:
        """The kind of database: "sqlite", "mysql" (MariaDB too) or "postgresql"."""

    @property
    def database(self) -> Hashable | None:
        """A key that identifies its database within this process; None if nothing may be cached about it."""

    @property
    def owner(self) -> object:
        """The application's object whose blocks must nest: the Session, the driver's connection."""

    @property
    def is_owner_thread(self) -> bool:
        """Return whether this thread may use it, as far as its library knows."""

    @property
    def has_failed(self) -> bool:
        """Return whether its transaction can only be rolled back."""

    def is_lost_after(self, error: BaseException) -> bool:
        """Return whether an error has broken the connection to the database, so that a COMMIT's outcome is unknown."""

    @property
    def is_open(self) -> bool:
        """Return whether a transaction is open that other code will end.

        A transaction that SQLAlchemy has begun by itself (autobegin) does not count; one that a driver has begun by
        itself, at the first statement, does.
        """

    @property
    def is_within_transaction(self) -> bool:
        """Return whether a statement made now would be part of an open transaction, whatever code ends it."""

    @property
    def open_savepoint(self) -> object:
        """Return an object that identifies the innermost savepoint that its library has open; None without one.

        Savepoints that were made in SQL alone are not seen.
        """

    def check(self) -> None:
        """Refuse a connection that cannot be used now.

        :raises ConnectionUnfit: closed, of another thread, or in a failed transaction; the text says what to do.
        """

    def connection(self) -> Connection:
        """Return a SQLAlchemy connection whose statements run on this one, as part of its transaction.

        It is for statements only: callers never commit, roll back or close it.
        """

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a Core statement; rows and `rowcount` are SQLAlchemy's."""

    def begin(self) -> None:
        """Begin a transaction that `commit` or `rollback` will end. Only if none `is_open`.

        :raises ConnectionUnfit: each statement would still commit by itself.
        """

    def join(self) -> None:
        """Ensure that a transaction is open that the application will end.

        :raises ConnectionUnfit: there is none, and each statement would commit by itself.
        """

    def flush(self) -> None:
        """Write what the application has added and its library has not written yet."""

    def settle(self, point: Savepoint | None) -> None:
        """Release the savepoints that the application left open in the library since `point`, or since `begin`."""

    def commit(self) -> None:
        """End the transaction of `begin` with COMMIT."""

    def rollback(self) -> None:
        """End the transaction of `begin` with ROLLBACK. Does nothing if it has ended already."""

    def savepoint(self) -> Savepoint:
        """Begin a transaction within the open one."""

    def note_write(self) -> None:
        """Report a write to the library that ends the transaction, if that does not notice it by itself.

        :raises ConnectionUnfit: that library never commits what is written.
        """

    def check_undivided(self) -> None:
        """Ensure that `commit` is one COMMIT.

        :raises ConnectionUnfit: several databases were written to.
        """

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Register `callback`, to be called once after the open transaction's COMMIT, and not after a ROLLBACK.

        Return False if the library has no such event; then the callback is never called.
        """

"""What is asked of an application's own connection, whatever it is made of.

`recognise()` (`ap4r.storage.app_connection.detect`) returns one for a Session, a Connection, a Django alias or a DB-API
connection; `ConnectionBlock` begins and ends on it; `tables_of()` checks the tables of ap4r beside those of the
application, and writes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Executable


class Savepoint(Protocol):
    """A transaction within a transaction, in the way that its library wants it to be."""

    @property
    def is_active(self) -> bool:
        """Tell whether it can still be released, as far as its library knows."""

    def release(self) -> None:
        """Keep what was done since. Raises if the transaction around it has ended meanwhile."""

    def rollback(self) -> None:
        """Undo what was done since; heals a transaction that has failed since."""


class ForeignConnection(Protocol):
    """A connection that belongs to the application. Nothing here commits or rolls back unless it is told to.

    What a statement raises is the error of SQLAlchemy around the driver's (`sqlalchemy.exc.DBAPIError`).
    """

    @property
    def what(self) -> str:
        """What it is, for errors: "a SQLAlchemy Session", "a psycopg connection"."""

    @property
    def name(self) -> str:
        """The URL of its database as `ap4r migrate --store` takes it, without a password."""

    @property
    def dialect(self) -> str:
        """The kind of database: "sqlite", "mysql" (MariaDB too) or "postgresql"."""

    @property
    def database(self) -> Hashable | None:
        """What tells its database from others, in this process; None where nothing may be remembered of it."""

    @property
    def owner(self) -> object:
        """The application's object whose blocks must nest: the Session, the driver's connection."""

    @property
    def is_owner_thread(self) -> bool:
        """Tell whether this thread may use it, as far as its library knows."""

    @property
    def has_failed(self) -> bool:
        """Tell whether its transaction can only be rolled back any more."""

    def is_lost_after(self, error: BaseException) -> bool:
        """Tell whether an error has broken the line to the database, so that nobody knows what a COMMIT has done."""

    @property
    def is_open(self) -> bool:
        """Tell whether a transaction is open that somebody else will end.

        What SQLAlchemy has begun by itself (autobegin) is not; what a driver has begun by itself, at the first
        statement, is.
        """

    @property
    def is_within_transaction(self) -> bool:
        """Tell whether a statement made now would be part of a transaction that is open already, whoever ends it."""

    @property
    def open_savepoint(self) -> object:
        """Give what tells the innermost savepoint that its library has open from others; None without one.

        What is said in SQL alone is not seen.
        """

    def check(self) -> None:
        """Refuse what cannot be used now.

        :raises ConnectionUnfit: closed, of another thread, or in a failed transaction; says which, and what to do.
        """

    def connection(self) -> Connection:
        """Give a SQLAlchemy connection whose statements run on this one, as part of its transaction.

        It is for statements only: it is never to be committed, rolled back or closed.
        """

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a Core statement; rows and `rowcount` as of SQLAlchemy."""

    def begin(self) -> None:
        """Begin a transaction that `commit` or `rollback` will end. Only where none `is_open`.

        :raises ConnectionUnfit: each statement would commit by itself all the same.
        """

    def join(self) -> None:
        """Make sure that a transaction is open which the application will end.

        :raises ConnectionUnfit: there is none, and each statement would commit by itself.
        """

    def flush(self) -> None:
        """Have written what the application has said and its library still holds back."""

    def settle(self, point: Savepoint | None) -> None:
        """Release what the application has left open in the library since `point`, or since `begin` without one."""

    def commit(self) -> None:
        """End with COMMIT what `begin` began."""

    def rollback(self) -> None:
        """End with ROLLBACK what `begin` began. Does nothing where it has ended already."""

    def savepoint(self) -> Savepoint:
        """Begin a transaction within the open one."""

    def note_write(self) -> None:
        """Tell whatever will end the transaction that something was written in it, where it does not see that itself.

        :raises ConnectionUnfit: nothing that is written in it is ever committed.
        """

    def check_undivided(self) -> None:
        """Make sure that `commit` is one COMMIT.

        :raises ConnectionUnfit: several databases were written to.
        """

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Have `callback` called once after the open transaction's COMMIT, and not after a ROLLBACK.

        False where the library cannot tell: nothing is called then.
        """

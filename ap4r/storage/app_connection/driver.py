"""What every driver's connection reports of itself."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple, Protocol


class DatabaseIdentity(NamedTuple):
    """The database behind a connection: its URL without a password, and a key that identifies it."""

    name: str
    database: Hashable | None


class Driver(Protocol):
    """One connection of a driver."""

    what: ClassVar[str]
    dialect: ClassVar[str]  #: the kind of database, as SQLAlchemy calls it
    drivername: ClassVar[str]  #: as in SQLAlchemy's URLs
    raw: Any
    given: Any

    @property
    def problem(self) -> str | None:
        """Return why no statement can be run at all; None when it can."""

    @property
    def is_owner_thread(self) -> bool:
        """Return whether the driver lets this thread use it."""

    @property
    def is_autocommit(self) -> bool:
        """Return whether a statement outside of a transaction commits by itself."""

    @property
    def in_transaction(self) -> bool | None:
        """Return whether a transaction is open, or None if that cannot be known."""

    @property
    def begins_by_itself(self) -> bool:
        """Return whether there always is a transaction, even if nothing was done in it."""

    @property
    def has_failed(self) -> bool:
        """Return whether the open transaction can only be rolled back."""

    @property
    def begin(self) -> str | None:
        """The statement that opens a transaction; None if the next statement does it."""

    def place(self) -> DatabaseIdentity:
        """Return the identity of this database."""

    def cursor(self) -> Any:
        """Return a cursor whose rows are tuples, whatever the application prefers."""

    def commit(self) -> None:
        """Commit through the wrapper of the connection, so that it can keep track."""

    def rollback(self) -> None:
        """Roll back through the wrapper."""


class DriverConnection:
    """A driver's connection, and how its transactions end.

    :param raw: the driver's connection.
    :param given: the application's object, which may be a wrapper of it.
    """

    def __init__(self, raw: Any, given: Any) -> None:
        self.raw = raw
        self.given = given

    def commit(self) -> None:
        """Commit through the wrapper of the connection, so that it can keep track."""
        self.given.commit()

    def rollback(self) -> None:
        """Roll back through the wrapper."""
        self.given.rollback()

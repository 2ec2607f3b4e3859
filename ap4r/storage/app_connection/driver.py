"""What a driver's own connection tells of itself, whichever driver it is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple, Protocol


class DatabaseIdentity(NamedTuple):
    """The database behind a connection: its URL without a password, and what tells it from others."""

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
        """Say why no statement can be made at all; None when it can."""

    @property
    def is_owner_thread(self) -> bool:
        """Tell whether the driver lets this thread use it."""

    @property
    def is_autocommit(self) -> bool:
        """Tell whether a statement outside of a transaction commits by itself."""

    @property
    def in_transaction(self) -> bool | None:
        """Tell whether a transaction is open; None where that cannot be known."""

    @property
    def begins_by_itself(self) -> bool:
        """Tell whether there always is a transaction, whether or not anything was done in it."""

    @property
    def has_failed(self) -> bool:
        """Tell whether the open transaction can only be rolled back."""

    @property
    def begin(self) -> str | None:
        """What opens a transaction; None where the next statement does it."""

    def place(self) -> DatabaseIdentity:
        """Tell which database this is."""

    def cursor(self) -> Any:
        """Give a cursor whose rows are tuples, whatever the application prefers."""

    def commit(self) -> None:
        """Commit, so that whatever is wrapped around the connection knows of it."""

    def rollback(self) -> None:
        """Roll back in the same way."""


class Endings:
    """A driver's connection, and how its transactions end.

    :param raw: the driver's own.
    :param given: what the application has, which may be wrapped around it.
    """

    def __init__(self, raw: Any, given: Any) -> None:
        self.raw = raw
        self.given = given

    def commit(self) -> None:
        """Commit, so that whatever is wrapped around the connection knows of it."""
        self.given.commit()

    def rollback(self) -> None:
        """Roll back in the same way."""
        self.given.rollback()

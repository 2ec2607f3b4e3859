"""The object that `transaction()` passes to its block, and the source of its connection."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ap4r.errors import ConnectionUnfit

if TYPE_CHECKING:
    from ap4r.storage.app_connection.base import ForeignConnection


class Scope(Protocol):
    """The object that `transaction()` passes to its block."""

    @property
    def owns_commit(self) -> bool:
        """Return whether the block's end commits the application's transaction."""


class Group:
    """A block without a connection: it ends no transaction."""

    owns_commit = False


class NotGiven(Enum):
    """The default of an argument for which None is a mistake."""

    CONN = "the connection that was not given"


class Given(NamedTuple):
    """The connection that the application passed. `is_found`: it comes from `connection=`, and not from this call."""

    conn: object
    using: str | None
    is_found: bool = False


def given_connection(conn: object, using: str | None, find: Callable[[], object] | None) -> Given | None:
    """Return the given connection, else the one that the middleware's `connection=` finds, or None without either.

    :raises ConnectionUnfit: None was given, or `connection=` returned None.
    """
    if using is not None:
        return Given(None if conn is NotGiven.CONN else conn, using)
    if conn is None:
        raise ConnectionUnfit("conn", "it is None, which is not a connection; omit the argument to use none")
    if conn is not NotGiven.CONN:
        return Given(conn, None)
    if find is None:
        return None
    found = find()
    if found is None:
        raise ConnectionUnfit("connection=", "it returned None instead of the application's connection")
    return Given(found, None, is_found=True)


def application_connection(given: Given, prefix: str) -> ForeignConnection:
    """Return the connection behind an argument. Only this imports SQLAlchemy, if the application uses it.

    :param prefix: the prefix of every table's name.
    :raises ConnectionUnfit: it is not a connection that can carry messages.
    """
    from ap4r.storage.app_connection.detect import recognise

    return recognise(given.conn, given.using, prefix)


def connection_finder(connection: Callable[[], object] | str | None) -> Callable[[], object] | None:
    """Return the function that finds the connection: the callable itself; a string is a Django database's alias."""
    return (lambda: connection) if isinstance(connection, str) else connection

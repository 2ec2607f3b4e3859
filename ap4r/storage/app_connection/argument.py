"""What `transaction()` gives its block, and where its connection comes from."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ap4r.errors import ConnectionUnfit

if TYPE_CHECKING:
    from ap4r.storage.app_connection.base import ForeignConnection


class Scope(Protocol):
    """What a block is."""

    @property
    def owns_commit(self) -> bool:
        """Tell whether the block's end commits the application's transaction."""


class Group:
    """A block without a connection: it ends no transaction."""

    owns_commit = False


class NotGiven(Enum):
    """What stands for an argument that was left out, where None is a mistake."""

    CONN = "the connection that was not given"


class Given(NamedTuple):
    """What the application gave as its connection. `is_found`: it gave what finds it, and named none now."""

    conn: object
    using: str | None
    is_found: bool = False


def given_connection(conn: object, using: str | None, find: Callable[[], object] | None) -> Given | None:
    """Give what was given, else what the middleware was told to find; None where there is neither.

    :raises ConnectionUnfit: None was given, or what was to find it gave nothing.
    """
    if using is not None:
        return Given(None if conn is NotGiven.CONN else conn, using)
    if conn is None:
        raise ConnectionUnfit("conn", "it is None, no connection; leave it out if none is meant")
    if conn is not NotGiven.CONN:
        return Given(conn, None)
    if find is None:
        return None
    found = find()
    if found is None:
        raise ConnectionUnfit("connection=", "it gave None in the place of the application's connection")
    return Given(found, None, is_found=True)


def application_connection(given: Given, prefix: str) -> ForeignConnection:
    """Recognise it. Only here SQLAlchemy is imported, by those who use it.

    :param prefix: what every table's name begins with.
    :raises ConnectionUnfit: it is no connection that can carry messages.
    """
    from ap4r.storage.app_connection.detect import recognise

    return recognise(given.conn, given.using, prefix)


def connection_finder(connection: Callable[[], object] | str | None) -> Callable[[], object] | None:
    """Give what finds the connection: the callable itself; a name is a Django alias."""
    return (lambda: connection) if isinstance(connection, str) else connection

"""Sessions with several databases: which of them holds ap4r's rows, and whether one COMMIT covers every write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.drivers import driver_of
from ap4r.storage.schema.tables import Schema

#: Returns whether nothing can have been written in the open transaction. On MySQL and MariaDB that is only known of a
#: server that accepts no writes at all.
_ONLY_READ = {
    "postgresql": "SELECT txid_current_if_assigned() IS NULL",
    "mysql": "SELECT @@GLOBAL.read_only",
    "mariadb": "SELECT @@GLOBAL.read_only",
}


def bind_of(session: Session, prefix: str, what: str) -> Engine | Connection:
    """Return where a session would send an INSERT into ap4r's tables during a flush.

    :raises ConnectionUnfit: it does not know.
    """
    ours = Insert(Schema(prefix).messages)
    try:
        with _as_in_flush(session):
            return session.get_bind(clause=ours)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ConnectionUnfit(
            what,
            f"it has several databases or none, and its get_bind() returns none for ap4r's tables ({reason}); pass the "
            "Connection of the one to use",
        ) from error


def check_undivided(session: Session, own: Connection, what: str) -> None:
    """Ensure that a session's COMMIT is one: that only the database of `own` was written to.

    :raises ConnectionUnfit: it would be several, one after the other.
    """
    if session.twophase:
        return
    taken = getattr(session.get_transaction(), "_connections", {}).values()
    for other in {id(connection): connection for connection, *_ in taken}.values():
        if other is not own and not _only_reads(other):
            names = " and ".join(repr(one.engine.url) for one in (own, other))
            raise ConnectionUnfit(
                what,
                f"its transaction has written to several databases, {names}, which are committed one after the other, "
                "so that a row could be stored without its message; use a session for each, or twophase=True",
            )


def _only_reads(connection: Connection) -> bool:
    if connection.dialect.name == "sqlite":
        driver = driver_of(connection.connection.dbapi_connection)
        # The sqlite3 module sends BEGIN before a write, unless the application sends it.
        return driver is not None and driver.in_transaction is False
    statement = _ONLY_READ.get(connection.dialect.name)
    try:
        return statement is not None and bool(connection.execute(text(statement)).scalar())
    except DBAPIError:
        return False


@contextmanager
def _as_in_flush(session: Any) -> Iterator[None]:
    # SQLAlchemy's documentation tells applications to check this when they send writes elsewhere than reads.
    before = getattr(session, "_flushing", False)
    session._flushing = True
    try:
        yield
    finally:
        session._flushing = before

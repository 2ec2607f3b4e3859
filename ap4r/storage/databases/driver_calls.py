"""Statements on a server's connection through its driver, for those that every message waits for.

SQLAlchemy's own work at each execution is a large part of the time of a small transaction. Errors are raised as
SQLAlchemy's, like those of all other statements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError

T = TypeVar("T")

_BEGIN = "ap4r_begin"


def begin_with_next(connection: Connection, statement: str) -> None:
    """Send the statement that opens a transaction before, or together with, the connection's next statement."""
    _not_lost(connection).info[_BEGIN] = statement


def take_begin(connection: Connection) -> str | None:
    """Return the statement that must still be sent to open the transaction, and forget it."""
    begin: str | None = _not_lost(connection).info.pop(_BEGIN, None)
    return begin


def begin_first(connection: Connection, *_: Any) -> None:
    """Open the transaction that `begin_with_next` announced, if any. A listener for SQLAlchemy's own executions."""
    begin = take_begin(connection)
    if begin is not None:
        run(connection, begin)


def rows(connection: Connection, statement: str, values: Any) -> Sequence[Any]:
    """Run a query and return all its rows."""
    begin_first(connection)
    return call_driver(connection, _rows, statement, values)


def run(connection: Connection, statement: str, values: Any = None) -> int:
    """Run a statement; return the number of rows that it changed."""
    begin_first(connection)
    return call_driver(connection, _changed, statement, values)


def run_each(connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
    """Run several statements, one after the other."""
    for statement, values in steps:
        run(connection, statement, values)


def run_many(connection: Connection, statement: str, many: Sequence[Any]) -> None:
    """Run a statement for each of several rows of values, in as few round trips as the driver needs."""
    if len(many) == 1:
        # Drivers do more work for many.
        run(connection, statement, many[0])
        return
    begin_first(connection)
    call_driver(connection, _run_many, statement, many)


def roll_back(connection: Connection) -> None:
    """Undo the open transaction, if it was begun and is still open."""
    if connection.invalidated or take_begin(connection) is not None:
        return
    try:
        run(connection, "ROLLBACK")
    except DBAPIError:
        # The connection is lost, and with it the transaction; the first error is the one to report.
        connection.invalidate()


def call_driver(connection: Connection, call: Callable[[Any, str, Any], T], statement: str, values: Any) -> T:
    """Call with the driver's connection, a statement and its values; raise the driver's errors as SQLAlchemy's."""
    dialect, driver = connection.dialect, _not_lost(connection).connection.dbapi_connection
    base = dialect.loaded_dbapi.Error
    try:
        return call(driver, statement, values)
    except (base, OSError) as error:
        if isinstance(error, OSError):
            # An I/O error in the driver, raised by the system: whether the statement was executed is unknown.
            error = dialect.loaded_dbapi.OperationalError(str(error)).with_traceback(error.__traceback__)
            lost = True
        else:
            lost = dialect.is_disconnect(error, driver, None)
        if lost:
            # Idle connections are as old as this one, and have most likely been lost with it.
            connection.invalidate(error)
            connection.engine.dispose()
        raise DBAPIError.instance(
            statement, None, error, base, hide_parameters=True, connection_invalidated=lost, dialect=dialect
        ) from error
    except BaseException as error:
        # Interrupted: the server's answer would be read as the answer to the next statement.
        connection.invalidate(error)
        raise


def _not_lost(connection: Connection) -> Connection:
    """Return the connection if it was not lost: SQLAlchemy would open another in its place, outside the transaction.

    :raises PendingRollbackError: it was lost.
    """
    if connection.invalidated:
        raise PendingRollbackError("the connection was lost within the transaction")
    return connection


def _rows(driver: Any, statement: str, values: Any) -> Sequence[Any]:
    with closing(driver.cursor()) as cursor:
        cursor.execute(statement, values)
        found: Sequence[Any] = cursor.fetchall()
        return found


def _changed(driver: Any, statement: str, values: Any) -> int:
    with closing(driver.cursor()) as cursor:
        if values is None:
            cursor.execute(statement)
        else:
            cursor.execute(statement, values)
        return int(cursor.rowcount)


def _run_many(driver: Any, statement: str, many: Sequence[Any]) -> None:
    with closing(driver.cursor()) as cursor:
        cursor.executemany(statement, many)

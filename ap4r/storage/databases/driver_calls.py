"""A server's connection in its driver's own words, for the statements that stand in a message's way.

What SQLAlchemy does at each execution is a good part of what a small transaction takes. Errors come as SQLAlchemy's,
like those of all other statements.
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
    """Send what opens a transaction not now but before, or together with, the connection's next statement."""
    _there(connection).info[_BEGIN] = statement


def take_begin(connection: Connection) -> str | None:
    """Give what still has to be sent to open the transaction, once."""
    begin: str | None = _there(connection).info.pop(_BEGIN, None)
    return begin


def begin_first(connection: Connection, *_: Any) -> None:
    """Open the transaction that stands ready, if there is one. A listener to SQLAlchemy's own executions."""
    begin = take_begin(connection)
    if begin is not None:
        run(connection, begin)


def rows(connection: Connection, statement: str, values: Any) -> Sequence[Any]:
    """Run a query and give all its rows."""
    begin_first(connection)
    return told(connection, _rows, statement, values)


def run(connection: Connection, statement: str, values: Any = None) -> int:
    """Run a statement; give the number of rows that it has changed."""
    begin_first(connection)
    return told(connection, _changed, statement, values)


def run_each(connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
    """Run several statements, one after the other."""
    for statement, values in steps:
        run(connection, statement, values)


def run_many(connection: Connection, statement: str, many: Sequence[Any]) -> None:
    """Run a statement for each of several rows of values, in as few round trips as the driver needs."""
    if len(many) == 1:
        # Drivers prepare for many.
        run(connection, statement, many[0])
        return
    begin_first(connection)
    told(connection, _run_many, statement, many)


def roll_back(connection: Connection) -> None:
    """Undo the open transaction, if it was begun and is still there."""
    if connection.invalidated or take_begin(connection) is not None:
        return
    try:
        run(connection, "ROLLBACK")
    except DBAPIError:
        # The connection is gone, and with it the transaction; the first error is the one that tells.
        connection.invalidate()


def told(connection: Connection, call: Callable[[Any, str, Any], T], statement: str, values: Any) -> T:
    """Call with the driver's connection, a statement and its values, and raise the driver's errors as SQLAlchemy's."""
    dialect, driver = connection.dialect, _there(connection).connection.dbapi_connection
    base = dialect.loaded_dbapi.Error
    try:
        return call(driver, statement, values)
    except (base, OSError) as error:
        if isinstance(error, OSError):
            # Of the driver's own I/O, in the system's words: what became of the statement nobody knows.
            error = dialect.loaded_dbapi.OperationalError(str(error)).with_traceback(error.__traceback__)
            lost = True
        else:
            lost = dialect.is_disconnect(error, driver, None)
        if lost:
            # The others that stand idle are as old, and have most likely been lost with it.
            connection.invalidate(error)
            connection.engine.dispose()
        raise DBAPIError.instance(
            statement, None, error, base, hide_parameters=True, connection_invalidated=lost, dialect=dialect
        ) from error
    except BaseException as error:
        # Called off halfway: what the server answers would be taken for the answer to the next statement.
        connection.invalidate(error)
        raise


def _there(connection: Connection) -> Connection:
    """Give a connection that was not lost: SQLAlchemy would open another in its place, outside the transaction.

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

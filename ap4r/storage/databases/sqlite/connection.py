"""A SQLite file through its driver: opening it, and statements that are worth writing as text.

SQLAlchemy's work at each execution takes longer than SQLite's own work on a row. So frequent statements are sent to the
driver as text; their errors are raised as SQLAlchemy's, like all others.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Delete, Table, bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from ap4r.storage.databases.sqlite import error_codes

_DIALECT = sqlite.dialect()


def open_file(path: str, deadline_seconds: float, mode: str = "rw") -> sqlite3.Connection:
    """Open a file: WAL, fsync at every commit, no implicit transactions, free pages left as they are.

    :param mode: "rw", or "rwc" to create the file if there is none.
    :raises sqlite3.Error: it cannot be opened, or another connection has locked it for longer than the deadline.
    """
    connection = sqlite3.connect(
        f"{Path(path).as_uri()}?mode={mode}",
        uri=True,
        timeout=deadline_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Turning WAL on needs an exclusive lock for a moment and does not wait for it: try within the deadline.
        give_up_at = time.monotonic() + deadline_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                if not error_codes.is_locked(error) or time.monotonic() > give_up_at:
                    raise
                time.sleep(0.005)
        connection.execute("PRAGMA synchronous=FULL")
        # If SQLite was built to overwrite deleted content with zeros, as Debian's is, each delivered body would be
        # written a second time. FAST does so only on pages that are written anyway.
        connection.execute("PRAGMA secure_delete=FAST")
    except BaseException:
        connection.close()
        raise
    return connection


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the driver's connection."""
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def run(connection: Connection, statement: str) -> None:
    """Run a statement without values."""
    try:
        driver_of(connection).execute(statement)
    except sqlite3.Error as error:
        raise _wrapped(statement, error) from error


def run_with(connection: Connection, statement: str, values: Sequence[Any]) -> int:
    """Run a statement with its values; return the number of rows that it changed."""
    try:
        return driver_of(connection).execute(statement, values).rowcount
    except sqlite3.Error as error:
        raise _wrapped(statement, error) from error


def rows_of(connection: Connection, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a query with its values; return its rows."""
    try:
        return driver_of(connection).execute(statement, values).fetchall()
    except sqlite3.Error as error:
        raise _wrapped(statement, error) from error


def run_each(connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
    """Run statements with their values, one after the other."""
    driver, statement = driver_of(connection), ""
    try:
        for statement, values in steps:
            driver.execute(statement, values)
    except sqlite3.Error as error:
        raise _wrapped(statement, error) from error


def run_many(connection: Connection, statement: str, rows: Sequence[Any]) -> int:
    """Run a statement for each of several rows of values; return the number of rows that were changed."""
    try:
        return driver_of(connection).executemany(statement, rows).rowcount
    except sqlite3.Error as error:
        raise _wrapped(statement, error) from error


def roll_back(connection: Connection) -> None:
    """Undo an open transaction. After some errors SQLite has rolled back by itself."""
    driver = driver_of(connection)
    if driver.in_transaction:
        try:
            driver.rollback()
        except sqlite3.Error:
            connection.invalidate()


@lru_cache(maxsize=256)
def delete_text(table: Table, columns: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return a DELETE by these columns, and the order of their values in it."""
    return _text_of(table.delete().where(*(table.c[column] == bindparam(column) for column in columns)))


def _text_of(statement: Delete) -> tuple[str, list[str]]:
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), list(compiled.positiontup or ())


def _wrapped(statement: str, error: sqlite3.Error) -> Exception:
    wrapped: Exception = DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True)
    return wrapped

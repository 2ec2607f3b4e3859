"""Statements through psycopg. The SQL that opens a transaction is sent with its first statement, in one round trip.

Such a pair needs the simple protocol, which binds no values: psycopg writes them into the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection

from ap4r.storage.databases import driver_calls


def rows(connection: Connection, statement: str, values: Any) -> Sequence[Any]:
    """Run a query and return all its rows."""
    begin = driver_calls.take_begin(connection)
    if begin is None:
        return driver_calls.rows(connection, statement, values)
    return driver_calls.call_driver(connection, partial(_rows_after, begin), statement, values)


def run(connection: Connection, statement: str, values: Any) -> int:
    """Run a statement; return the number of rows that it changed."""
    begin = driver_calls.take_begin(connection)
    if begin is None:
        return driver_calls.run(connection, statement, values)
    return driver_calls.call_driver(connection, partial(_changed_after, begin), statement, values)


def _rows_after(begin: str, connection: Any, statement: str, values: Any) -> Sequence[Any]:
    with _last_result(begin, connection, statement, values) as cursor:
        return cursor.fetchall()


def _changed_after(begin: str, connection: Any, statement: str, values: Any) -> int:
    with _last_result(begin, connection, statement, values) as cursor:
        return cursor.rowcount


@contextmanager
def _last_result(begin: str, connection: Any, statement: str, values: Any) -> Iterator[psycopg.ClientCursor[Any]]:
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(f"{begin}; {statement}", values)
        while cursor.nextset():
            pass
        yield cursor

"""Many rows in one statement of PostgreSQL: the values are sent as arrays, one for each column.

The statements are the same each time, so each is built once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql

from ap4r.storage.databases.database import Rows
from ap4r.storage.databases.postgresql.connection import run

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_quote = _DIALECT.identifier_preparer.quote
_named = _DIALECT.identifier_preparer.format_table


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that have the same columns."""
    columns = tuple(rows[0])
    run(connection, _insert_text(table, columns), _arrays(columns, rows))


def delete_rows(connection: Connection, table: Table, rows: Rows) -> int:
    """Delete rows by some of their columns, the same in each, and return their number."""
    columns = tuple(rows[0])
    return run(connection, _delete_text(table, columns), _arrays(columns, rows))


def move_rows(connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows) -> None:
    """Delete rows of `source`, found by `key`, and insert them into `target`."""
    columns = tuple(rows[0])
    run(connection, _move_text(source, tuple(key), target, columns), _arrays(columns, rows))


@lru_cache(maxsize=128)
def _insert_text(table: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(map(_quote, columns))
    return f"INSERT INTO {_named(table)} ({names}) SELECT {names} FROM {_as_rows(table, columns)}"


@lru_cache(maxsize=128)
def _delete_text(table: Table, columns: tuple[str, ...]) -> str:
    return f"DELETE FROM {_named(table)} AS t USING {_as_rows(table, columns)} WHERE {_same(columns)}"


@lru_cache(maxsize=128)
def _move_text(source: Table, key: tuple[str, ...], target: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(map(_quote, columns))
    return (
        f"WITH v AS (SELECT * FROM {_as_rows(target, columns)}), "
        f"gone AS (DELETE FROM {_named(source)} AS t USING v WHERE {_same(key)}) "
        f"INSERT INTO {_named(target)} ({names}) SELECT {names} FROM v"
    )


def _same(columns: tuple[str, ...]) -> str:
    return " AND ".join(f"t.{_quote(column)} = v.{_quote(column)}" for column in columns)


def _as_rows(table: Table, columns: tuple[str, ...]) -> str:
    """Return the SQL that turns arrays into rows `v`."""
    arrays = ", ".join(f"%s::{table.c[column].type.compile(dialect=_DIALECT)}[]" for column in columns)
    return f"unnest({arrays}) AS v ({', '.join(map(_quote, columns))})"


def _arrays(columns: tuple[str, ...], rows: Rows) -> tuple[list[object], ...]:
    return tuple([row[column] for row in rows] for column in columns)

"""Many rows in one statement of MySQL or MariaDB.

The statements are the same each time, so each is built once.
"""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import mysql

from ap4r.storage.databases.database import Rows
from ap4r.storage.databases.driver_calls import run, run_many

_quote = mysql.dialect().identifier_preparer.quote
_ROWS_A_DELETE = 300


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that have the same columns; PyMySQL builds one statement of them."""
    columns = tuple(rows[0])
    run_many(connection, _insert_text(table, columns), [tuple([row[name] for name in columns]) for row in rows])


def delete_rows(connection: Connection, table: Table, rows: Rows) -> int:
    """Delete rows by some of their columns, the same in each, and return their number.

    The keys are joined to the table, because then InnoDB locks those rows only. With an IN it reads ranges and locks
    their neighbours too, and two concurrent deletes wait for each other.
    """
    columns, count = tuple(rows[0]), 0
    for start in range(0, len(rows), _ROWS_A_DELETE):
        some = rows[start : start + _ROWS_A_DELETE]
        statement = _delete_text(table, columns, len(some))
        count += run(connection, statement, tuple([row[name] for row in some for name in columns]))
    return count


@lru_cache(maxsize=128)
def _insert_text(table: Table, columns: tuple[str, ...]) -> str:
    names, places = ", ".join(map(_quote, columns)), ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {_quote(table.name)} ({names}) VALUES ({places})"


@lru_cache(maxsize=128)
def _delete_text(table: Table, columns: tuple[str, ...], number: int) -> str:
    one = "SELECT " + ", ".join(f"%s AS {_quote(column)}" for column in columns)
    same = " AND ".join(f"t.{_quote(column)} = v.{_quote(column)}" for column in columns)
    return (
        f"DELETE t FROM ({' UNION ALL '.join([one] * number)}) AS v "
        f"STRAIGHT_JOIN {_quote(table.name)} AS t FORCE INDEX (PRIMARY) ON {same}"
    )

"""Many rows in one statement of SQLite.

The driver releases the interpreter's lock at each step of a statement. Row by row, a dispatcher's two threads would
pass it back and forth several times for each message, which takes longer than the work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite

from ap4r.storage.databases.database import Rows
from ap4r.storage.databases.sqlite.connection import delete_text, run_many, run_with

_quote = sqlite.dialect().identifier_preparer.quote

#: Statements are built for these numbers of rows only, so that few are cached; lists are split or filled up to fit.
_INSERTED = (128, 32, 8, 1)
_LISTED = (8, 32, 128, 256)


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that have the same columns."""
    columns, start = tuple(rows[0]), 0
    for number in _INSERTED:
        while len(rows) - start >= number:
            some = rows[start : start + number]
            run_with(connection, _insert_text(table, columns, number), [row[name] for row in some for name in columns])
            start += number


def delete_rows(connection: Connection, table: Table, rows: Rows) -> int:
    """Delete rows by some of their columns, and return their number.

    :param rows: with the same columns: some of the primary key's, the last of them unique by itself in the table as ids
        are, and further conditions on a row.
    """
    columns = tuple(rows[0])
    if len(rows) == 1:
        return _one_by_one(connection, table, columns, rows)
    key = [column.name for column in table.primary_key if column.name in columns]
    besides = [name for name in columns if name not in key]
    groups: defaultdict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        # One range of the key in each statement: the keys of other rows in it are excluded by their last column.
        groups[tuple([row[name] for name in (*besides, *key[:-2])])].append(row)
    if len(groups) * _LISTED[0] > len(rows):
        return _one_by_one(connection, table, columns, rows)
    return sum(_together(connection, table, (*besides, *key[:-2]), key[-2:], group) for group in groups.values())


def _one_by_one(connection: Connection, table: Table, columns: tuple[str, ...], rows: Rows) -> int:
    statement, order = delete_text(table, columns)
    return run_many(connection, statement, [tuple([row[name] for name in order]) for row in rows])


def _together(connection: Connection, table: Table, same: tuple[str, ...], key: list[str], rows: Rows) -> int:
    values = [rows[0][name] for name in same]
    keys = sorted([tuple([row[name] for name in key]) for row in rows])
    count, longest = 0, _LISTED[-1]
    for start in range(0, len(keys), longest):
        some = keys[start : start + longest]
        length = next(length for length in _LISTED if length >= len(some))
        listed = [one[-1] for one in some]
        # Existing values fill the missing places. With a key of one column the list alone is enough.
        bounds = (*some[0], *some[-1]) if len(key) > 1 else ()
        statement = _delete_text(table, same, tuple(key), length)
        count += run_with(connection, statement, [*values, *bounds, *listed, *listed[-1:] * (length - len(listed))])
    return count


@lru_cache(maxsize=128)
def _insert_text(table: Table, columns: tuple[str, ...], number: int) -> str:
    one = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {_quote(table.name)} ({', '.join(map(_quote, columns))}) VALUES {', '.join([one] * number)}"


@lru_cache(maxsize=128)
def _delete_text(table: Table, same: tuple[str, ...], key: tuple[str, ...], number: int) -> str:
    conditions = [f"{_quote(name)} = ?" for name in same]
    if len(key) > 1:
        # A part of the index that holds few other rows; many rows may have the same place in it.
        place = f"({', '.join(map(_quote, key))})"
        conditions += [f"{place} >= (?, ?)", f"{place} <= (?, ?)"]
    conditions.append(f"{_quote(key[-1])} IN ({', '.join('?' * number)})")
    return f"DELETE FROM {_quote(table.name)} WHERE {' AND '.join(conditions)}"

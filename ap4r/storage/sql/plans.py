"""How rows are to be found, where the database's own figures may tell it otherwise."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select, Table

_Selection = TypeVar("_Selection", bound=Select[Any])


def by_primary_key(statement: _Selection, table: Table) -> _Selection:
    """Have MySQL and MariaDB look rows up by the primary key.

    A scan, which a table that was small a moment ago seems to be worth, would wait for rows that others have locked.
    The other databases lock only what they return.
    """
    return by_index(statement, table, "PRIMARY")


def by_index(statement: _Selection, table: Table, index: str) -> _Selection:
    """Have MySQL and MariaDB look rows up by an index, for the same reason."""
    for dialect in ("mysql", "mariadb"):
        statement = statement.with_hint(table, f"FORCE INDEX ({index})", dialect)
    return statement

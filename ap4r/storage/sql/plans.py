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
    for dialect in ("mysql", "mariadb"):
        statement = statement.with_hint(table, "FORCE INDEX (PRIMARY)", dialect)
    return statement

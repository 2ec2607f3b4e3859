"""How rows are to be found and read, where a database left to itself may do otherwise."""

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


def as_committed(statement: _Selection) -> _Selection:
    """Read rows as they are committed now, and keep them so until the transaction ends.

    Elsewhere this is what each new statement shows. InnoDB lets go of a transaction's rows a moment before it counts
    it as committed for new snapshots: who locks one of them may not see the others yet, unless by a lock too. Nor
    would who reads within an application's transaction, whose snapshot may be old.
    """
    return statement.with_for_update(read=True, key_share=True)

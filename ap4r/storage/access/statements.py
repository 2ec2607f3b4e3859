"""Frequent statements: written once for all databases, compiled once for each kind, and then executed as text.

What SQLAlchemy repeats at each execution (finding a statement in its cache, sorting its values by name and type) takes
longer than SQLite's own work. Values go to the driver unchanged: ids as bytes, instants and counts as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Connection,
    CursorResult,
    Delete,
    Insert,
    Row,
    Select,
    Table,
    Update,
    bindparam,
)
from sqlalchemy.engine import Dialect

Statement = Select[Any] | CompoundSelect[Any] | Insert | Update | Delete


class Compiled:
    """One statement. Its columns have types that every driver returns and accepts as they are stored."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._texts: dict[type[Dialect], _Text] = {}

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Run it with values by name."""
        text = self._text(connection.dialect)
        return connection.exec_driver_sql(text.sql, text.parameters(values))

    def with_values(self, dialect: Dialect, values: Mapping[str, Any]) -> tuple[str, Any]:
        """Return it as text, and its values, for the driver to run."""
        text = self._text(dialect)
        return text.sql, text.parameters(values)

    def for_rows(self, dialect: Dialect, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        """Return it as text, and the values of each of several rows, for the driver to run."""
        text = self._text(dialect)
        return text.sql, [text.parameters(row) for row in rows]

    def _text(self, dialect: Dialect) -> _Text:
        text = self._texts.get(type(dialect))
        if text is None:
            text = self._texts[type(dialect)] = _Text(self._statement, dialect)
        return text


class _Text:
    """A statement for one kind of database."""

    __slots__ = ("_fixed", "_in_order", "sql")

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        names = compiled.positiontup
        # For drivers that need them in order. With a single name itemgetter would return no tuple.
        self._in_order: Callable[[Mapping[str, Any]], Any] | None = (
            None if names is None else itemgetter(*names) if len(names) > 1 else partial(_each, names)
        )
        # Values of the statement itself, such as an offset of 0.
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the values in the driver's form: in order, or by name."""
        if self._fixed:
            values = {**self._fixed, **values}
        return values if self._in_order is None else self._in_order(values)


def _each(names: Sequence[str], values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple([values[name] for name in names])


#: Lists are padded to one of these lengths, so that neither we nor a database cache a statement for every length.
_LENGTHS = (1, 8, 32, 128, 256)
_NAMES = [f"id_{number}" for number in range(_LENGTHS[-1])]

Ids = Sequence[BindParameter[bytes]]


class Among:
    """A query for rows by a list of ids, without an order.

    :param query: returns the query for a list of so many ids.
    """

    def __init__(self, query: Callable[[Ids], Select[Any]]) -> None:
        self._query = query
        self._compiled: dict[int, Compiled] = {}

    def rows(self, connection: Connection, ids: Sequence[bytes]) -> list[Row[Any]]:
        """Return the rows of these ids; an empty list for no ids."""
        found: list[Row[Any]] = []
        longest = _LENGTHS[-1]
        for start in range(0, len(ids), longest):
            some = ids[start : start + longest]
            length = next(length for length in _LENGTHS if length >= len(some))
            # An id that occurs twice is found once.
            padded = [*some, *[some[-1]] * (length - len(some))]
            found += self._of(length).execute(connection, dict(zip(_NAMES, padded, strict=False))).all()
        return found

    def _of(self, length: int) -> Compiled:
        compiled = self._compiled.get(length)
        if compiled is None:
            compiled = self._compiled[length] = Compiled(self._query([bindparam(name) for name in _NAMES[:length]]))
        return compiled


_Selection = TypeVar("_Selection", bound=Select[Any])


def by_primary_key(statement: _Selection, table: Table) -> _Selection:
    """Make MySQL and MariaDB look rows up by the primary key.

    A scan, which they may prefer when a table was small a moment ago, would wait for rows that others have locked.
    The other databases lock only what they return.
    """
    return by_index(statement, table, "PRIMARY")


def by_index(statement: _Selection, table: Table, index: str) -> _Selection:
    """Make MySQL and MariaDB look rows up by an index, for the same reason."""
    for dialect in ("mysql", "mariadb"):
        statement = statement.with_hint(table, f"FORCE INDEX ({index})", dialect)
    return statement


def as_committed(statement: _Selection) -> _Selection:
    """Read rows as they are committed now, and keep them so until the transaction ends.

    On other databases each new statement does so. InnoDB releases a transaction's rows a moment before new
    snapshots include it: a transaction that locks one of them may not see the others yet, unless by a lock too.
    The same is true inside an application's transaction, whose snapshot may be old.
    """
    return statement.with_for_update(read=True, key_share=True)

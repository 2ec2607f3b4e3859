"""Hot statements: described once for every database like all others, compiled once for each kind, then sent as text.

What SQLAlchemy does anew at each execution (finding a statement in its cache, sorting its values by name and type)
takes longer than SQLite's own work. Values go to the driver as they are: ids as bytes, instants and counts as numbers.
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
    """One statement. Its columns are of types that every driver gives and takes as they are stored."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._texts: dict[type[Dialect], _Text] = {}

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Run it with values by name."""
        text = self._text(connection.dialect)
        return connection.exec_driver_sql(text.sql, text.parameters(values))

    def with_values(self, dialect: Dialect, values: Mapping[str, Any]) -> tuple[str, Any]:
        """Give it as text, and its values, for the driver to run."""
        text = self._text(dialect)
        return text.sql, text.parameters(values)

    def for_rows(self, dialect: Dialect, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        """Give it as text, and the values of each of several rows, for the driver to run."""
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
        # Where the driver wants them in order. Of one name alone itemgetter would give no tuple.
        self._in_order: Callable[[Mapping[str, Any]], Any] | None = (
            None if names is None else itemgetter(*names) if len(names) > 1 else partial(_each, names)
        )
        # What the description itself says, an offset of 0 for one.
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Give the values as the driver wants them: in order, or by name."""
        if self._fixed:
            values = {**self._fixed, **values}
        return values if self._in_order is None else self._in_order(values)


def _each(names: Sequence[str], values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple([values[name] for name in names])


#: Lists are filled up to one of these lengths, so that neither we nor a database keep a statement for every length.
_LENGTHS = (1, 8, 32, 128, 256)
_NAMES = [f"id_{number}" for number in range(_LENGTHS[-1])]

Ids = Sequence[BindParameter[bytes]]


class Among:
    """A query for rows by a list of ids, without an order.

    :param query: gives the query for so many ids.
    """

    def __init__(self, query: Callable[[Ids], Select[Any]]) -> None:
        self._query = query
        self._compiled: dict[int, Compiled] = {}

    def rows(self, connection: Connection, ids: Sequence[bytes]) -> list[Row[Any]]:
        """Give the rows of these ids; none for none."""
        found: list[Row[Any]] = []
        longest = _LENGTHS[-1]
        for start in range(0, len(ids), longest):
            some = ids[start : start + longest]
            length = next(length for length in _LENGTHS if length >= len(some))
            # An id that stands twice is found once.
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

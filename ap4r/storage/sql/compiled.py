"""Hot statements: described once for every database like all others, compiled once for each kind, then sent as text.

What SQLAlchemy does anew at each execution (finding a statement in its cache, sorting its values by name and type)
takes longer than SQLite's own work. Values go to the driver as they are: ids as bytes, instants and counts as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import CompoundSelect, Connection, CursorResult, Delete, Insert, Select, Update
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

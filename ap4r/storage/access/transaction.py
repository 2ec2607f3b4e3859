"""The context of every operation: an open transaction, the tables, the store's clock and the known lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table

from ap4r.storage.access.statements import Compiled
from ap4r.storage.databases.database import Database
from ap4r.storage.operations.lanes import Lanes
from ap4r.storage.schema.tables import Schema

MICROSECONDS = 1_000_000
_MOST = 2**62  # leaves room to add an instant


@dataclass(slots=True)
class Transaction:
    """One open transaction. `store` is the store's name for errors."""

    store: str
    connection: Connection
    schema: Schema
    database: Database
    lanes: Lanes
    known_now_at: int | None = None  # the store's clock in microseconds, once it was read
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    @property
    def now_at(self) -> int:
        """The store's clock in microseconds, the same throughout."""
        if self.known_now_at is None:
            self.known_now_at = self.database.now_at(self.connection)
        return self.known_now_at

    @property
    def clock_sql(self) -> str | None:
        """The SQL that reads the store's clock within a statement; None if the clock is already known."""
        return self.database.clock_sql if self.known_now_at is None else None

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT that ignores an existing row."""
        return self.database.insert_new(table)

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert narrow rows, all with the same columns."""
        if rows:
            self.database.insert(self.connection, table, rows)

    def move(self, source: Table, key: Sequence[str], target: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Delete rows of `source`, found by `key`, and insert them into `target`."""
        if rows:
            self.database.move(self.connection, source, key, target, rows)

    def rows(self, statement: Compiled, values: Mapping[str, Any]) -> Sequence[Any]:
        """Run a query with values by name; return its rows as the driver returns them, without names."""
        return self.database.rows(self.connection, *statement.with_values(self.connection.dialect, values))

    def run_each(self, *steps: tuple[Compiled, Mapping[str, Any]]) -> None:
        """Run several statements in order, each with its values by name."""
        dialect = self.connection.dialect
        self.database.run_each(self.connection, [statement.with_values(dialect, values) for statement, values in steps])

    def run_many(self, statement: Compiled, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement for each of several rows."""
        self.database.run_many(self.connection, *statement.for_rows(self.connection.dialect, rows))

    def delete(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Delete rows by the first columns of their primary key and the other given values; return how many."""
        return self.database.delete(self.connection, table, rows) if rows else 0


def to_microseconds(seconds: float) -> int:
    """Convert seconds to whole microseconds, limited to the range of a BIGINT."""
    return int(max(-_MOST, min(seconds * MICROSECONDS, _MOST)))


def to_seconds(microseconds: int) -> float:
    """Convert microseconds to seconds."""
    return microseconds / MICROSECONDS

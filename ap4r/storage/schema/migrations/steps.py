"""The steps of a migration. Each may be repeated: MySQL commits every one by itself, so an interrupted migration
continues where it stopped, and one that runs beside another does only what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op


def create_table(name: str, *parts: Any, **options: Any) -> None:
    """Create a table unless it exists."""
    if context.is_offline_mode() or not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **options)


def create_index(name: str, table: str, columns: Sequence[str]) -> None:
    """Create an index unless it exists."""
    if context.is_offline_mode() or all(
        index["name"] != name for index in sa.inspect(op.get_bind()).get_indexes(table)
    ):
        op.create_index(name, table, list(columns))


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column unless it exists."""
    if context.is_offline_mode() or all(
        there["name"] != column.name for there in sa.inspect(op.get_bind()).get_columns(table)
    ):
        op.add_column(table, column)

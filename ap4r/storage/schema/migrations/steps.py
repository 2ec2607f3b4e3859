"""The steps of a migration. Each may be taken again: MySQL commits every one by itself, so a migration that broke off
goes on where it was, and one that meets another on the way takes only what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op


def create_table(name: str, *parts: Any, **options: Any) -> None:
    """Make a table unless it is there."""
    if context.is_offline_mode() or not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **options)


def create_index(name: str, table: str, columns: Sequence[str]) -> None:
    """Make an index unless it is there."""
    if context.is_offline_mode() or all(
        index["name"] != name for index in sa.inspect(op.get_bind()).get_indexes(table)
    ):
        op.create_index(name, table, list(columns))


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column unless it is there."""
    if context.is_offline_mode() or all(
        there["name"] != column.name for there in sa.inspect(op.get_bind()).get_columns(table)
    ):
        op.add_column(table, column)

"""What every operation is given: an open transaction, the tables, the store's clock and the lanes it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table

from ap4r.storage.sql.lanes import Lanes
from ap4r.storage.sql.schema import Schema

MICROSECONDS = 1_000_000
_MOST = 2**62  # leaves room to add an instant


@dataclass(slots=True)
class Transaction:
    """One open transaction. `now_at` is the store's clock in microseconds, `store` the store's name for errors."""

    store: str
    connection: Connection
    schema: Schema
    now_at: int
    insert_new: Callable[[Table], Any]  # an INSERT that leaves an existing row alone and does not fail
    lanes: Lanes
    after_commit: list[Callable[[], None]] = field(default_factory=list)


def to_microseconds(seconds: float) -> int:
    """Turn seconds into whole microseconds, bounded to what a BIGINT holds."""
    return int(max(-_MOST, min(seconds * MICROSECONDS, _MOST)))


def to_seconds(microseconds: int) -> float:
    """Turn microseconds into seconds."""
    return microseconds / MICROSECONDS

"""ap4r with SQLite, as many dispatchers as the others have processes."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.peers import dispatchers
from benchmarks.peers.place import STORE

NAME = "ap4r, SQLite, two processes"
STORE_KIND = "sqlite"
SETUP = "Its defaults: fsync, leases, deadlines, bounds, address checks."
WORKERS = [dispatchers.command(STORE)] * 2


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other, each durable by itself."""
    dispatchers.enqueue(STORE, calls)

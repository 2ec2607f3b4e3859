"""Huey with SQLite."""

from __future__ import annotations

from collections.abc import Iterable

from huey import SqliteHuey

from benchmarks.peers.place import STORE
from benchmarks.peers.post import post

NAME = "Huey, SQLite"
STORE_KIND = "sqlite"
SETUP = "With fsync, which is off by default. Two worker processes, no periodic tasks, no results; requests."
WORKERS = [
    [
        "huey_consumer",
        "benchmarks.peers.huey_sqlite.huey",
        "--workers=2",
        "--worker-type=process",
        "--no-periodic",
        "--quiet",
    ]
]

huey = SqliteHuey("peers", filename=STORE, fsync=True, results=False)


@huey.task()
def deliver(url: str, number: int) -> None:
    """Deliver one."""
    post(url, number)


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""
    for url, number in calls:
        deliver(url, number)

"""Huey with SQLite."""

from __future__ import annotations

from collections.abc import Iterable

from huey import SqliteHuey

from benchmarks.peers import huey_worker
from benchmarks.peers.place import STORE, Call
from benchmarks.peers.post import post

NAME = "Huey, SQLite"
STORE_KIND = "sqlite"
SETUP = f"With fsync, which is off by default. {huey_worker.SETUP}"
WORKERS = huey_worker.commands("benchmarks.peers.huey_sqlite.huey")

huey = SqliteHuey("peers", filename=STORE, fsync=True, results=False)


@huey.task()
def deliver(url: str, number: int, body: str = "", queue: str = "") -> None:
    """Deliver one."""
    post(url, number, body, queue)


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""
    for call in calls:
        deliver(*call)

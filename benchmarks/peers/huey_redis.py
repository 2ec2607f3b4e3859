"""Huey with Redis."""

from __future__ import annotations

from collections.abc import Iterable

from huey import RedisHuey

from benchmarks.peers import huey_worker
from benchmarks.peers.place import STORE, Call
from benchmarks.peers.post import post

NAME = "Huey, Redis"
STORE_KIND = "redis"
SETUP = huey_worker.SETUP
WORKERS = huey_worker.commands("benchmarks.peers.huey_redis.huey")

huey = RedisHuey("peers", url=STORE, results=False)


@huey.task()
def deliver(url: str, number: int, body: str = "", queue: str = "") -> None:
    """Deliver one."""
    post(url, number, body, queue)


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""
    for call in calls:
        deliver(*call)

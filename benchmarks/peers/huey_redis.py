"""Huey with Redis."""

from __future__ import annotations

from collections.abc import Iterable

from huey import RedisHuey

from benchmarks.peers.place import STORE
from benchmarks.peers.post import post

NAME = "Huey, Redis"
STORE_KIND = "redis"
SETUP = "Two worker processes, no periodic tasks, no results; requests."
WORKERS = [
    [
        "huey_consumer",
        "benchmarks.peers.huey_redis.huey",
        "--workers=2",
        "--worker-type=process",
        "--no-periodic",
        "--quiet",
    ]
]

huey = RedisHuey("peers", url=STORE, results=False)


@huey.task()
def deliver(url: str, number: int) -> None:
    """Deliver one."""
    post(url, number)


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""
    for url, number in calls:
        deliver(url, number)

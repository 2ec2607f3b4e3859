"""Dramatiq with Redis."""

from __future__ import annotations

from collections.abc import Iterable

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.place import STORE
from benchmarks.peers.post import post

NAME = "Dramatiq, Redis"
STORE_KIND = "redis"
SETUP = "Its defaults: acknowledged when done, 8 threads in each of two processes; requests."
WORKERS = [["dramatiq", "--processes=2", "--threads=8", "benchmarks.peers.dramatiq"]]

dramatiq.set_broker(RedisBroker(url=STORE))


@dramatiq.actor
def deliver(url: str, number: int) -> None:
    """Deliver one."""
    post(url, number)


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""
    for url, number in calls:
        deliver.send(url, number)

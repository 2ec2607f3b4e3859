"""Dramatiq with Redis."""

from __future__ import annotations

from collections.abc import Iterable

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.place import IN_FLIGHT, STORE, Call
from benchmarks.peers.post import post

NAME = "Dramatiq, Redis"
STORE_KIND = "redis"
if IN_FLIGHT:
    SETUP = f"""Acknowledged when done; dramatiq-gevent, as its guide advises for tasks that wait, with
{IN_FLIGHT // 2} greenlets in each of two processes; requests."""
    WORKERS = [["dramatiq-gevent", "--processes=2", f"--threads={IN_FLIGHT // 2}", "benchmarks.peers.dramatiq"]]
else:
    SETUP = """Its defaults: acknowledged when done, 8 threads in each of two processes; requests. One queue for all
names: a process has a thread for each that it reads."""
    WORKERS = [["dramatiq", "--processes=2", "--threads=8", "benchmarks.peers.dramatiq"]]

dramatiq.set_broker(RedisBroker(url=STORE))


@dramatiq.actor
def deliver(url: str, number: int, body: str = "", queue: str = "") -> None:
    """Deliver one."""
    post(url, number, body, queue)


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""
    for call in calls:
        deliver.send(*call)

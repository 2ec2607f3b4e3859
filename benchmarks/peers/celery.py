"""Celery with Redis."""

from __future__ import annotations

from collections.abc import Iterable

from celery import Celery

from benchmarks.peers.place import STORE
from benchmarks.peers.post import post

NAME = "Celery, prefork, acks_late"
STORE_KIND = "redis"
SETUP = """acks_late, for without it a task is gone when its worker dies. A prefetch of 64, as its guide advises for
short tasks; no results; no gossip, mingle or heartbeat, which only cost with one worker. Two prefork children;
requests."""
WORKERS = [
    ["celery", "-A", "benchmarks.peers.celery", "worker", "--concurrency=2", "--loglevel=WARNING",
     "--without-gossip", "--without-mingle", "--without-heartbeat"],
]  # fmt: skip

app = Celery("benchmarks.peers.celery", broker=STORE)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)


@app.task(name="deliver")
def deliver(url: str, number: int) -> None:
    """Deliver one."""
    post(url, number)


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""
    for url, number in calls:
        deliver.delay(url, number)

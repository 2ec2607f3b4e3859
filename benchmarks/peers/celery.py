"""Celery with Redis."""

from __future__ import annotations

from collections.abc import Iterable

from celery import Celery

from benchmarks.peers.place import IN_FLIGHT, STORE, Call
from benchmarks.peers.post import post, share

STORE_KIND = "redis"
_WORKER = ["celery", "-A", "benchmarks.peers.celery", "worker", "--loglevel=WARNING", "--without-gossip",
           "--without-mingle", "--without-heartbeat"]  # fmt: skip

if IN_FLIGHT:
    NAME = "Celery, gevent, acks_late"
    SETUP = f"""acks_late, as ever. gevent, as its guide advises for tasks that wait: {IN_FLIGHT // 2} in each of two
workers, which share a session, for each task has a greenlet of its own. Its default prefetch of 4, for 64 times as
many would all go to the first worker; no results, gossip, mingle or heartbeat; requests."""
    WORKERS = [
        [*_WORKER, "--pool=gevent", f"--concurrency={IN_FLIGHT // 2}", f"--hostname={name}@%h"]
        for name in ("one", "two")
    ]
    share(IN_FLIGHT // 2)
else:
    NAME = "Celery, prefork, acks_late"
    SETUP = """acks_late, for without it a task is gone when its worker dies. A prefetch of 64, as its guide advises for
short tasks; no results; no gossip, mingle or heartbeat, which only cost with one worker. Two prefork children;
requests. One queue for all names: a worker with 10,000 would ask Redis for 40,000 keys each time."""
    WORKERS = [[*_WORKER, "--concurrency=2"]]

app = Celery("benchmarks.peers.celery", broker=STORE)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4 if IN_FLIGHT else 64,
    broker_connection_retry_on_startup=True,
)


@app.task(name="deliver")
def deliver(url: str, number: int, body: str = "", queue: str = "") -> None:
    """Deliver one."""
    post(url, number, body, queue)


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""
    for call in calls:
        deliver.delay(*call)

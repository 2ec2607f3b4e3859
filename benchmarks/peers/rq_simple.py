"""RQ, the way its workers are called `simple`."""

from __future__ import annotations

from collections.abc import Iterable

from redis import Redis
from rq import Queue

from benchmarks.peers.place import STORE
from benchmarks.peers.post import post

NAME = "RQ, simple worker"
STORE_KIND = "redis"
SETUP = """Two workers that run their jobs themselves, for what a fork costs is in the other row; results are not
kept; requests."""
WORKERS = [["rq", "worker-pool", "--num-workers=2", "--quiet", "--worker-class=rq.worker.SimpleWorker", "--url", STORE]]

queue = Queue(connection=Redis.from_url(STORE))


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""
    for url, number in calls:
        queue.enqueue(post, url, number, result_ttl=0)

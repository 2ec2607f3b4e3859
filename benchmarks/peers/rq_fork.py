"""RQ, the way its workers are called `fork`."""

from __future__ import annotations

from collections.abc import Iterable

from redis import Redis
from rq import Queue

from benchmarks.peers.place import STORE
from benchmarks.peers.post import post

NAME = "RQ, fork"
STORE_KIND = "redis"
SETUP = """Two workers as they are by default, with a fork a job, which can keep no connection; results are not
kept; requests."""
WORKERS = [["rq", "worker-pool", "--num-workers=2", "--quiet", "--url", STORE]]

queue = Queue(connection=Redis.from_url(STORE))


def enqueue(calls: Iterable[tuple[str, int]]) -> None:
    """Put them one after the other."""
    for url, number in calls:
        queue.enqueue(post, url, number, result_ttl=0)

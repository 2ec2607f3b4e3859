"""RQ, the way its workers are called `simple`."""

from __future__ import annotations

from collections.abc import Iterable

from redis import Redis
from rq import Queue

from benchmarks.peers.place import STORE, Call
from benchmarks.peers.post import post

NAME = "RQ, simple worker"
STORE_KIND = "redis"
SETUP = """Two workers that run their jobs themselves, because the other row has the cost of a fork; results are not
kept; requests. One queue for all names: a worker reads the queues it names. Bursts are put with enqueue_many."""
WORKERS = [["rq", "worker-pool", "--num-workers=2", "--quiet", "--worker-class=rq.worker.SimpleWorker", "--url", STORE]]
CANNOT = {"slow": "a call in flight takes a process"}

queue = Queue(connection=Redis.from_url(STORE))


def enqueue(calls: Iterable[Call]) -> None:
    """Put them one after the other."""
    for call in calls:
        queue.enqueue(post, *call, result_ttl=0)


def enqueue_bursts(bursts: Iterable[list[Call]]) -> None:
    """Put all of a burst at once."""
    for calls in bursts:
        queue.enqueue_many([Queue.prepare_data(post, call, result_ttl=0) for call in calls])

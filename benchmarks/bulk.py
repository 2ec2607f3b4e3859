"""The rate at which a script puts messages, a thousand in a commit, on SQLite with fsync.

    python -m benchmarks.bulk [--scale N] [--rounds N]

`handle` is the whole way, `async_to` a message and `commit()` a thousand; `store` is the store alone, with the messages
made before.
"""

from __future__ import annotations

import statistics
import sys
import time

import ap4r
from ap4r.message.message import Message, Put, new_id
from ap4r.message.target import parse_target
from ap4r.settings.load import load_settings
from ap4r.storage.open import open_store
from benchmarks.draining import new_file
from benchmarks.figure import Figure, Options, run

_A_COMMIT = 1_000


def measure(options: Options) -> list[Figure]:
    """Put by both ways in turn."""
    commits = options.count(20, 1)
    ways = {"handle": by_handle, "store": by_store}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            with new_file() as url:
                rates[name].append(commits * _A_COMMIT / way(url, commits))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return [Figure("bulk put", middle["handle"], "/s", 25_000, True, f"the store alone {middle['store']:,.0f}")]


def by_handle(url: str, commits: int) -> float:
    """Describe and put; return the seconds, without those of making the tables."""
    with ap4r.session(url) as handle:
        handle.async_to("/first")
        handle.commit()
        began_at = time.perf_counter()
        for number in range(commits):
            for other in range(_A_COMMIT):
                handle.async_to("/search/reindex", {"id": f"{number * _A_COMMIT + other:012d}"})
            handle.commit()
        return time.perf_counter() - began_at


def by_store(url: str, commits: int) -> float:
    """Put what is described; return the seconds, without those of making the tables."""
    target, queue = parse_target("/search/reindex")
    puts = [
        Put(new_id(), tuple(Message(id=new_id(), queue=queue, target=target, body=b"x" * 15) for _ in range(_A_COMMIT)))
        for _ in range(commits)
    ]
    store = open_store(url, load_settings(environ={}, store=url))
    try:
        store.prepare()
        began_at = time.perf_counter()
        for put in puts:
            store.put(put)
        return time.perf_counter() - began_at
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(run(__doc__, {"bulk": measure}))

"""The rate of treq alone: a loop of treq.post over the same connections, without a store or guarantees.

Run as a program by `deliver.py`; prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import treq
from twisted.internet import defer, reactor, task
from twisted.web.client import HTTPConnectionPool


async def post_all(url: str, count: int, concurrency: int) -> dict[str, float]:
    """Post `count` times, `concurrency` at once; return the seconds and the CPU seconds it took."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = concurrency
    left = iter(range(count))

    async def post_some() -> None:
        for number in left:
            response = await treq.post(url, {"id": str(number)}, pool=pool)
            await treq.content(response)

    began_at, cpu_before = time.monotonic(), _cpu_seconds()
    await defer.gatherResults([defer.ensureDeferred(post_some()) for _ in range(concurrency)])
    measured = {"seconds": time.monotonic() - began_at, "cpu_seconds": _cpu_seconds() - cpu_before}
    await pool.closeCachedConnections()
    return measured


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run for the arguments URL, COUNT and CONCURRENCY."""
    url, count, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    async def run(_reactor: object) -> None:
        await post_all(url, min(count, 200), concurrency)  # connections and code are warm, as a dispatcher's are
        print(json.dumps(await post_all(url, count, concurrency)))

    task.react(lambda r: defer.ensureDeferred(run(r)))


if __name__ == "__main__":
    main()

"""Puts calls with a peer's own client, in the peer's own Python; what it found goes to stdout as JSON.

python -m benchmarks.peers.client MODULE describe | enqueue URL COUNT | trickle URL COUNT RATE | bursts URL SIZE COUNT
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.place import BODY_BYTES, QUEUES, Call


def main() -> None:
    """Do what the arguments say."""
    module, what, *rest = sys.argv[1:]
    peer = importlib.import_module(f"benchmarks.peers.{module}")
    if what == "describe":
        found: object = {
            "name": peer.NAME,
            "setup": peer.SETUP,
            "workers": peer.WORKERS,
            "prepare": getattr(peer, "PREPARE", []),
            "cannot": getattr(peer, "CANNOT", {}),
        }
    elif what == "enqueue":
        began_at: list[float] = []
        peer.enqueue(_without_first(rest[0], int(rest[1]), began_at))
        found = {"seconds": time.monotonic() - began_at[-1]}
    elif what == "bursts":
        found = _put_bursts(peer, rest[0], int(rest[1]), int(rest[2]))
    else:
        begun: dict[int, float] = {}
        peer.enqueue(_paced(rest[0], int(rest[1]), float(rest[2]), begun))
        found = begun
    print(json.dumps(found))


def _calls(url: str, count: int) -> Iterator[Call]:
    """Enqueue the calls of the work."""
    # Text that no database makes smaller.
    body = random.Random(0).randbytes(BODY_BYTES // 2).hex()
    for number in range(count):
        if QUEUES:
            yield url, number, body, f"queue.{number % QUEUES}"
        elif body:
            yield url, number, body
        else:
            yield url, number


def _without_first(url: str, count: int, began_at: list[float]) -> Iterator[Call]:
    """Enqueue the calls; the clock starts after the first, which also connects."""
    for call in _calls(url, count):
        if call[1] < 2:
            began_at.append(time.monotonic())
        yield call


def _paced(url: str, count: int, rate: float, begun: dict[int, float]) -> Iterator[Call]:
    """Enqueue the calls, `rate` a second; record when the put of each begins, by the clock that all processes share."""
    for number in range(count):
        begun[number] = time.monotonic()
        yield url, number
        time.sleep(max(0.0, begun[number] + 1.0 / rate - time.monotonic()))


def _put_bursts(peer: Any, url: str, size: int, count: int) -> None:
    """Put a burst for each line of stdin, the peer's way where it has one to put many at once."""
    bursts = _on_demand(list(_calls(url, size)), count)
    if hasattr(peer, "enqueue_bursts"):
        peer.enqueue_bursts(bursts)
    else:
        peer.enqueue(call for burst in bursts for call in burst)


def _on_demand(burst: list[Call], count: int) -> Iterator[list[Call]]:
    """Enqueue the burst for each input line; answer each with the instant, by the clock that all processes share."""
    for _ in range(count):
        if not sys.stdin.readline():
            return
        print(time.monotonic(), flush=True)
        yield burst


if __name__ == "__main__":
    main()

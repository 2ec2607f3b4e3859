"""Puts calls with a peer's own client, in the peer's own Python; what it found goes to stdout as JSON.

python -m benchmarks.peers.client MODULE describe | enqueue URL COUNT | trickle URL COUNT RATE
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator


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
        }
    elif what == "enqueue":
        began_at: list[float] = []
        peer.enqueue(_without_first(rest[0], int(rest[1]), began_at))
        found = {"seconds": time.monotonic() - began_at[-1]}
    else:
        begun: dict[int, float] = {}
        peer.enqueue(_paced(rest[0], int(rest[1]), float(rest[2]), begun))
        found = begun
    print(json.dumps(found))


def _without_first(url: str, count: int, began_at: list[float]) -> Iterator[tuple[str, int]]:
    """Give the calls; the clock starts behind the first, which also connects."""
    for number in range(count):
        if number < 2:
            began_at.append(time.monotonic())
        yield url, number


def _paced(url: str, count: int, rate: float, begun: dict[int, float]) -> Iterator[tuple[str, int]]:
    """Give the calls, `rate` a second; note when the put of each begins, by the clock that all processes share."""
    for number in range(count):
        begun[number] = time.monotonic()
        yield url, number
        time.sleep(max(0.0, begun[number] + 1.0 / rate - time.monotonic()))


if __name__ == "__main__":
    main()

"""Deliveries a second from 10,000 queues that all have messages, beside the same from one.

python -m benchmarks.names [--scale N] [--rounds N]
"""

from __future__ import annotations

import sys

from benchmarks.draining import Drained, Work, drain, middle, new_file
from benchmarks.figure import Figure, Options, run
from benchmarks.sink import nginx_sink

_NAMES = 10_000


def measure(options: Options) -> list[Figure]:
    """Empty a store of each kind in turn."""
    names, messages = options.count(_NAMES), options.count(2 * _NAMES)
    rounds: dict[int, list[Drained]] = {1: [], names: []}
    with nginx_sink() as sink:
        for _ in range(options.rounds):
            for queues, found in rounds.items():
                with new_file() as url:
                    found.append(drain(url, sink, Work(f"{sink.url}/hook", messages, queues=queues)))
    one, many = (middle(found) for found in rounds.values())
    beside = f"from one {one.per_second:,.0f}"
    return [
        Figure(f"{names:,} queue names, deliveries", many.per_second, "/s", beside=beside),
        Figure(f"{names:,} queue names, CPU of 1,000", many.cpu_per_1000, "s", beside=f"one {one.cpu_per_1000:.2f}"),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"names": measure}))

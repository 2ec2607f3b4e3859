"""Durable deliveries a second, and the CPU they take, of one dispatcher on SQLite.

    python -m benchmarks.deliveries [--scale N] [--rounds N]

`benchmarks.deliver` measures the same beside a bare loop of treq.post; here are the figures that have goals.
"""

from __future__ import annotations

import sys

from benchmarks.draining import Work, drain, middle, new_file
from benchmarks.figure import Figure, Options, run
from benchmarks.sink import nginx_sink


def measure(options: Options) -> list[Figure]:
    """Empty a store round by round."""
    rounds = []
    with nginx_sink() as sink:
        for _ in range(options.rounds):
            with new_file() as url:
                rounds.append(drain(url, sink, Work(f"{sink.url}/hook", options.count(20_000))))
    found = middle(rounds)
    return [
        Figure("durable deliveries", found.per_second, "/s", 5_000, True),
        Figure("CPU of 1,000 deliveries, store included", found.cpu_per_1000, "s", 0.2),
        Figure("memory while delivering", found.megabytes, "MB (RSS)"),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"deliveries": measure}))

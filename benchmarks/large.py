"""Deliveries a second of bodies of 1 MiB, the largest that the defaults allow.

python -m benchmarks.large [--scale N] [--rounds N]
"""

from __future__ import annotations

import sys

from benchmarks.draining import Work, drain, middle, new_file
from benchmarks.figure import Figure, Options, run
from benchmarks.sink import nginx_sink

_BODY = b"x" * 1_048_576


def measure(options: Options) -> list[Figure]:
    """Empty a store round by round."""
    rounds = []
    with nginx_sink() as sink:
        for _ in range(options.rounds):
            with new_file() as url:
                rounds.append(drain(url, sink, Work(f"{sink.url}/hook", options.count(300), _BODY)))
    found = middle(rounds)
    return [
        Figure("bodies of 1 MiB, deliveries", found.per_second, "/s"),
        Figure("bodies of 1 MiB, CPU of 1,000", found.cpu_per_1000, "s"),
        Figure("bodies of 1 MiB, memory", found.megabytes, "MB (RSS)"),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"large": measure}))

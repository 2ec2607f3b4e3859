"""Durable deliveries a second, and the CPU they take, of one dispatcher on SQLite.

    python -m benchmarks.deliveries [--scale N] [--rounds N]

What has goals is measured on one core (`taskset` does that), the target on another. Beside it stands the same without
that: then the dispatcher's two threads hand the interpreter's lock from core to core. `benchmarks.deliver` measures the
same beside a bare loop of treq.post.
"""

from __future__ import annotations

import sys

from benchmarks.draining import Drained, Work, drain, middle, new_file
from benchmarks.figure import Figure, Options, run
from benchmarks.sink import nginx_sink


def measure(options: Options) -> list[Figure]:
    """Empty a store round by round."""
    rounds: dict[bool, list[Drained]] = {True: [], False: []}
    with nginx_sink() as sink:
        for _ in range(options.rounds):
            for one_core, drained in rounds.items():
                with new_file() as url:
                    work = Work(f"{sink.url}/hook", options.count(20_000))
                    drained.append(drain(url, sink, work, one_core=one_core))
    found, free = middle(rounds[True]), middle(rounds[False])
    return [
        Figure("durable deliveries, on one core", found.per_second, "/s", 5_000, True),
        Figure("CPU of 1,000, store included", found.cpu_per_1000, "s", 0.2),
        Figure("memory while delivering", found.megabytes, "MB (RSS)"),
        Figure("durable deliveries, on any core", free.per_second, "/s"),
        Figure("CPU of 1,000 of these", free.cpu_per_1000, "s"),
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"deliveries": measure}))

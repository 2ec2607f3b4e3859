"""Deliveries a second to a target that takes 100 ms for each, with 2,000 calls in flight.

    python -m benchmarks.slow [--scale N] [--rounds N]

The most there can be is 20,000 a second; what is missing is what the dispatcher, or the target, which is a Python
program, cannot keep up with.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks import processes
from benchmarks.draining import Work, drain, middle, new_file
from benchmarks.figure import Figure, Options, run
from benchmarks.sink import Sink
from tests.support.processes import ROOT, free_port

_IN_FLIGHT, _PAUSE_SECONDS = 2_000, 0.1


def measure(options: Options) -> list[Figure]:
    """Empty a store round by round."""
    rounds, most = [], 0
    for _ in range(options.rounds):
        with slow_sink() as sink, new_file() as url:
            work = Work(f"{sink.url}/hook", options.count(20_000))
            rounds.append(drain(url, sink, work, options=("--concurrency", str(_IN_FLIGHT))))
            most = max(most, most_in_flight(sink))
    found = middle(rounds)
    return [
        Figure("slow target, deliveries", found.per_second, "/s", beside=f"at most {most:,} in flight at the target"),
        Figure("slow target, CPU of 1,000", found.cpu_per_1000, "s"),
        Figure("slow target, memory", found.megabytes, "MB (RSS)"),
    ]


def most_in_flight(sink: Sink) -> int:
    """Ask a slow target how many calls it has had at once."""
    with urllib.request.urlopen(f"{sink.url}/count") as answer:
        return int(answer.read().split()[2])


@contextmanager
def slow_sink() -> Iterator[Sink]:
    """Run the slow target until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.slow_target", str(port), str(_PAUSE_SECONDS)]
    process = subprocess.Popen(command, cwd=ROOT)
    sink = Sink(f"http://127.0.0.1:{port}")
    try:
        give_up_at = time.monotonic() + 20
        while time.monotonic() < give_up_at:
            with suppress(OSError):
                sink.requests()
                break
            time.sleep(0.05)
        yield sink
    finally:
        processes.kill([process])


if __name__ == "__main__":
    sys.exit(run(__doc__, {"slow": measure}))

"""Everything that has a goal, in one table, with the goals.

    make bench [ARGS="--only deliveries,idle --scale 0.1 --rounds 1 --strict --json FILE"]

Each is a module of its own that can be run alone. What takes long has targets of its own: `make bench-claims` (a claim
with 5,000,000 waiting), `make bench-memory` (1,000,000 waiting, scheduled and dead), `make bench-peers` (the others).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    bulk,
    bursts,
    deliveries,
    https,
    idle,
    intake,
    large,
    latency,
    mariadb,
    middleware,
    names,
    request,
    slow,
)
from benchmarks.draining import new_file
from benchmarks.figure import Figure, Measure, Options, Unavailable, run


def put_to_received(options: Options) -> list[Figure]:
    """Measure the latency of messages put twenty a second."""
    with new_file() as url, tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        _, seconds = latency.measure(url, "udp", Path(folder), options.count(400), 1 / 20)
    percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
    return [
        Figure("put to received, 20 a second, median", percentiles[49] * 1000, "ms", 5),
        Figure("put to received, 20 a second, 99 %", percentiles[98] * 1000, "ms", 20),
    ]


def puts_through_the_intake(options: Options) -> list[Figure]:
    """Measure the intake at 64 connections.

    :raises Unavailable: wrk is not installed.
    """
    if shutil.which("wrk") is None:
        raise Unavailable("wrk is not installed (apt-get install wrk)")
    seconds = max(1, round(5 * options.scale))
    arguments = argparse.Namespace(connections=64, seconds=seconds, rounds=options.rounds)
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        best = intake.run(Path(folder), arguments)
    return [Figure("intake, 64 connections, best round", best, "durable puts/s", 3_000, True)]


BENCHMARKS: dict[str, Measure] = {
    "deliveries": deliveries.measure,
    "idle": idle.measure,
    "latency": put_to_received,
    "middleware": middleware.measure,
    "request": request.measure,
    "intake": puts_through_the_intake,
    "bulk": bulk.measure,
    "mariadb": mariadb.measure,
    "https": https.measure,
    "slow": slow.measure,
    "large": large.measure,
    "names": names.measure,
    "bursts": bursts.measure,
}


if __name__ == "__main__":
    sys.exit(run(__doc__, BENCHMARKS))

"""The rate at which a dispatcher drains a full SQLite store, beside a bare loop of treq.post, in one run.

    python -m benchmarks.deliver [--messages N] [--rounds N] [--concurrency N] [--least RATIO]

Both deliver the same small form to the same nginx over as many connections. The dispatcher is the real
`twistd -n ap4r` with its defaults: durable store, leases, deadlines, logging. The rounds alternate, because
machines are noisy; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ap4r.message.message import Message, Put, new_id
from ap4r.message.target import parse_target
from ap4r.settings.load import load_settings
from ap4r.storage.open import open_store
from benchmarks.sink import Sink, nginx_sink

_WARM_UP = 500  #: messages delivered before the clock starts: imports, connections and caches
_PUT = 500


@dataclass(frozen=True)
class Measured:
    """One round."""

    per_second: float
    cpu_per_1000: float


def main() -> int:
    """Run the benchmark; exit 1 when the ratio is under --least."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000, help="messages a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=64, help="calls at once (%(default)s)")
    parser.add_argument("--least", type=float, default=0.0, help="fail when ours is less than this part of bare treq")
    arguments = parser.parse_args()
    bare, ours = [], []
    with nginx_sink() as sink:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds} …", file=sys.stderr, flush=True)
            bare.append(run_bare(sink, arguments.messages, arguments.concurrency))
            ours.append(run_dispatcher(sink, arguments.messages, arguments.concurrency))
    ratio = statistics.median(one.per_second for one in ours) / statistics.median(one.per_second for one in bare)
    print(f"{'':24}{'deliveries/s':>14}{'CPU-s per 1,000':>18}")
    for name, rounds in (("treq.post in a loop", bare), ("ap4r, SQLite, fsync", ours)):
        rate = statistics.median(one.per_second for one in rounds)
        cpu = statistics.median(one.cpu_per_1000 for one in rounds)
        print(f"{name:24}{rate:>14,.0f}{cpu:>18.3f}")
    print(f"ap4r / bare treq: {ratio:.2f} (median of {arguments.rounds} rounds of {arguments.messages:,})")
    if ratio < arguments.least:
        print(f"less than {arguments.least}", file=sys.stderr)
        return 1
    return 0


def run_bare(sink: Sink, messages: int, concurrency: int) -> Measured:
    """Post in a bare loop."""
    command = [sys.executable, "-m", "benchmarks.bare_treq", f"{sink.url}/hook", str(messages), str(concurrency)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Measured(messages / found["seconds"], found["cpu_seconds"] / messages * 1000)


def run_dispatcher(sink: Sink, messages: int, concurrency: int) -> Measured:
    """Fill a store, let a dispatcher empty it, and measure between the end of the warm-up and the last delivery."""
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        url = f"sqlite:///{folder}/ap4r.db"
        fill(url, f"{sink.url}/hook", messages + _WARM_UP)
        command = [Path(sys.executable).with_name("twistd"), "-n", "ap4r", "--store", url, "--listen", "none"]
        command += ["--concurrency", str(concurrency)]
        before = sink.requests()
        log = Path(folder, "dispatcher.log")
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=dict(os.environ))
        try:
            began_at, cpu_before, at_start = _wait_for(process, sink, before, _WARM_UP, log)
            ended_at, cpu_after, at_end = _wait_for(process, sink, before, messages + _WARM_UP, log)
        finally:
            process.terminate()
            process.wait(60)
        delivered = at_end - at_start
        return Measured(delivered / (ended_at - began_at), (cpu_after - cpu_before) / delivered * 1000)


def fill(url: str, target: str, messages: int) -> None:
    """Put messages for one target into a store."""
    parsed, queue = parse_target(target)
    store = open_store(url, load_settings(environ={}, store=url))
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    for start in range(0, messages, _PUT):
        numbers = range(start, min(start + _PUT, messages))
        batch = tuple(
            Message(id=new_id(), queue=queue, target=parsed, headers=headers, body=b"id=%012d" % number)
            for number in numbers
        )
        store.put(Put(new_id(), batch))
    store.close()


def _wait_for(
    process: subprocess.Popen[bytes], sink: Sink, before: int, served: int, log: Path
) -> tuple[float, float, int]:
    asked = 0
    give_up_at = time.monotonic() + 600
    while True:
        asked += 1
        count = sink.requests() - before - asked
        if count >= served - 1:
            return time.monotonic(), _cpu_seconds(process.pid), count
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise SystemExit(f"the dispatcher stopped at {count} of {served}:\n{log.read_text()[-4000:]}")
        time.sleep(0.02)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())

"""Durable puts a second through the intake, beside what its HTTP server alone answers.

    python -m benchmarks.intake [--connections N] [--seconds N] [--rounds N] [--least RATE]

wrk keeps so many connections busy with puts of one small message, each answered when it is durable; SQLite, fsync on,
the messages not due, so that nothing is delivered meanwhile. The dispatcher has one core, wrk another where there is
one. `CPU` is what the whole dispatcher used for 1,000 puts, in seconds: it depends less than the rate on who else is
busy. `nothing` is the same server asked for a path that is not there: what HTTP costs the way that Twisted reads it.
The best round counts.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.processes import cpu_seconds

_PUT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"target": "/search/reindex", "params": {"id": 7, "name": "widget"}, "delay_seconds": 3600}'
"""


def main() -> int:
    """Run the benchmark; exit 1 when the best round is under --least."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=64, help="at once (%(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--least", type=float, default=0.0, help="fail when fewer puts a second")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("this benchmark needs wrk; install it with: apt-get install wrk", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ap4r-intake-") as folder:
        best = run(Path(folder), arguments)
    if best < arguments.least:
        print(f"{best:,.0f} a second, fewer than {arguments.least:,.0f}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path, arguments: argparse.Namespace) -> float:
    """Measure round by round; return the best rate of puts."""
    script = folder / "put.lua"
    script.write_text(_PUT)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    code = "import os, ap4r, twisted.plugins as plugins; from twisted.scripts.twistd import run; "
    code += "plugins.__path__.append(os.path.join(os.path.dirname(ap4r.__file__), 'twisted_plugins')); run()"
    options = ["--store", f"sqlite:///{folder}/q.db", "--listen", f"tcp:{port}:interface=127.0.0.1"]
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "-n", "ap4r", *options], cwd=folder, stdout=out, stderr=out
        )
    best = 0.0
    core, *others = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid, {core})  # before it starts its threads, which inherit it
    wrk = {others[0]} if others else {core}
    try:
        _wait_until_up(process, port, folder / "log")
        print(f"{'a second':10}{'puts':>10}{'CPU':>8}{'nothing':>10}{'ratio':>8}", flush=True)
        for number in range(arguments.rounds):
            before, used = _stored(folder), cpu_seconds([process.pid])
            rate = _wrk(f"{url}/messages", wrk, arguments, "-s", str(script))
            used, stored = cpu_seconds([process.pid]) - used, _stored(folder) - before
            nothing = _wrk(f"{url}/nothing", wrk, arguments, "-s", str(script))
            assert stored >= rate * arguments.seconds * 0.9, f"{stored} are stored"
            best = max(best, rate)
            cpu = used / stored * 1_000
            print(f"round {number + 1:<4}{rate:>10,.0f}{cpu:>8.3f}{nothing:>10,.0f}{rate / nothing:>8.2f}", flush=True)
    finally:
        process.terminate()
        process.wait(40)
    return best


def _wrk(url: str, cores: set[int], arguments: argparse.Namespace, *options: str) -> float:
    command = [
        "taskset",
        "-c",
        ",".join(map(str, cores)),
        "wrk",
        "-t1",
        f"-c{arguments.connections}",
        f"-d{arguments.seconds}s",
        *options,
        url,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if url.endswith("/messages") and "Non-2xx" in said:
        raise SystemExit(f"puts were refused:\n{said}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


def _stored(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "q.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM ap4r_scheduled").fetchone()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + 30
    while b"works on" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise SystemExit(f"the dispatcher did not start:\n{log.read_text()}")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())

"""The memory of a dispatcher with a backlog beside one with little work, on each database.

    python -m benchmarks.memory [--stores sqlite,mariadb,postgresql] [--backlog N] [--deliveries N] [--most MEGABYTES]

Two real dispatchers (`twistd -n ap4r` with its defaults), one after the other, deliver as many messages to nginx. The
store of the second holds so many messages that wait, as many that are scheduled and as many dead letters. What counts
is the most that each ever had in memory, by Linux's own figure (VmHWM).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.backlog import Database, open_database
from benchmarks.sink import Sink, nginx_sink

_DELIVERING_SECONDS = 600
_LANES = 10


def main() -> int:
    """Run the benchmark; exit 1 when a backlog costs more than --most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", default="sqlite,mariadb,postgresql", help="which databases (%(default)s)")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="messages in each state (%(default)s)")
    parser.add_argument("--deliveries", type=int, default=5_000, help="deliveries before measuring (%(default)s)")
    parser.add_argument("--most", type=float, default=0.0, help="fail when a backlog costs more megabytes than this")
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{'MB, at most':14}{'no backlog':>12}{'backlog':>12}{'more':>9}", flush=True)
    with nginx_sink() as sink:
        for kind in arguments.stores.split(","):
            with open_database(kind) as database:
                without = measured(database, "none", sink, 0, arguments.deliveries)
                behind = measured(database, "much", sink, arguments.backlog, arguments.deliveries)
            worst = max(worst, behind - without)
            print(f"{kind:14}{without:>12.1f}{behind:>12.1f}{behind - without:>9.1f}", flush=True)
    print(
        f"backlog: {arguments.backlog:,} waiting, scheduled and dead, each; after {arguments.deliveries:,} deliveries"
    )
    if arguments.most and worst > arguments.most:
        print(f"a backlog costs {worst:.1f} MB, more than {arguments.most:g}", file=sys.stderr)
        return 1
    return 0


def measured(database: Database, name: str, sink: Sink, backlog: int, deliveries: int) -> float:
    """Deliver so many messages with a dispatcher, with or without others waiting; return its peak megabytes."""
    with database.backlog(name) as store, tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        store.fill(_LANES, ready=deliveries + backlog, scheduled=backlog, dead=backlog)
        command = [Path(sys.executable).with_name("twistd"), "-n", "ap4r", "--store", store.url, "--listen", "none"]
        command += ["--app-url", sink.url]
        served = sink.requests()
        with Path(folder, "log").open("w+b") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=dict(os.environ))
            try:
                _wait_for(process, sink, served + deliveries)
                return _most_megabytes(process.pid)
            except TimeoutError:
                output.seek(0)
                raise SystemExit(f"the dispatcher does not deliver:\n{output.read()[-4000:].decode()}") from None
            finally:
                process.terminate()
                process.wait(60)


def _wait_for(process: subprocess.Popen[bytes], sink: Sink, served: int) -> None:
    give_up_at = time.monotonic() + _DELIVERING_SECONDS
    asked = 0
    while sink.requests() - asked < served:
        asked += 1
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise TimeoutError
        time.sleep(0.1)


def _most_megabytes(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())

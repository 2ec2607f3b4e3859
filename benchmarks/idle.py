"""The cost of an idle dispatcher: CPU, statements a second, memory.

    python -m benchmarks.idle [--scale N]

SQLite, for a minute, from ten seconds after its start. The statements are those that SQLite itself tells of, in a
dispatcher of its own, for counting costs CPU.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import processes
from benchmarks.draining import dispatchers, new_file
from benchmarks.figure import Figure, Options, run
from tests.support.processes import Processes


def measure(options: Options) -> list[Figure]:
    """Watch two dispatchers that do nothing, one of them counted."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ap4r-bench-")))
        ledger = folder / "statements"
        counted = stack.enter_context(Processes(folder)).twistd_ap4r(
            "--store", f"sqlite:///{folder}/ap4r.db", "--listen", "none", counted=ledger
        )
        counted.wait_for_output("doorbell")
        [process] = stack.enter_context(dispatchers(stack.enter_context(new_file())))
        time.sleep(10 * options.scale)
        cpu, lines, began_at = processes.cpu_seconds([process.pid]), _lines(ledger), time.monotonic()
        time.sleep(60 * options.scale)
        seconds = time.monotonic() - began_at
        return [
            Figure("idle", (processes.cpu_seconds([process.pid]) - cpu) / seconds * 100, "% of a core", 0.3),
            Figure("idle", (_lines(ledger) - lines) / seconds, "statements/s", 0.3),
            Figure("idle", processes.megabytes([process.pid]), "MB (RSS)", 60),
        ]


def _lines(ledger: Path) -> int:
    return ledger.read_bytes().count(b"\n")


if __name__ == "__main__":
    sys.exit(run(__doc__, {"idle": measure}))

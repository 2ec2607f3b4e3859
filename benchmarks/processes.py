"""What a process and all that it has forked cost: CPU and memory, by Linux's own figures."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """List a process and everything below it that lives."""
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        with suppress(OSError):
            for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
                with suppress(OSError):
                    left += [int(child) for child in children.read_text().split()]
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Add up what these, all below them, and those of their children that have ended, have used."""
    ticks = 0
    for pid in (pid for root in roots for pid in tree(root)):
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / _TICKS


def megabytes(roots: Iterable[int], what: str = "Rss") -> float:
    """Add up the memory of these and all below them.

    :param what: Rss, or Pss, where a page that several share is counted once.
    """
    kilobytes = 0
    for pid in (pid for root in roots for pid in tree(root)):
        with suppress(OSError):
            found = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            kilobytes += int(found[1]) if found else 0
    return kilobytes / 1024


def kill(started: Iterable[subprocess.Popen[bytes]]) -> None:
    """End processes that we have started, and all that they have forked, with SIGKILL."""
    started = list(started)
    for pid in [pid for process in started if process.poll() is None for pid in tree(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in started:
        process.wait(10)


def stop(started: Iterable[subprocess.Popen[bytes]], grace_seconds: float = 5.0) -> None:
    """Ask processes that we have started to end, and end what has not, with all below, after the grace."""
    started = list(started)
    below = {process.pid: tree(process.pid)[1:] for process in started if process.poll() is None}
    for process in started:
        if process.poll() is None:
            process.terminate()
    give_up_at = time.monotonic() + grace_seconds
    while any(process.poll() is None for process in started) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    kill(started)
    for root, pids in below.items():
        for pid in pids:
            # A process in the session that we created for it is ours; one with a reused number is not.
            with suppress(ProcessLookupError):
                if os.getsid(pid) == root:
                    os.kill(pid, signal.SIGKILL)

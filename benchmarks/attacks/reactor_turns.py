"""Measure how long each turn of a reactor takes: while it lasts, nothing else in the process goes on.

A turn lasts from when the reactor has waited for events until it waits again. What counts is the CPU time of the
reactor's own thread: what a busy machine adds to it says nothing about the program.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

_WRITE_SECONDS = 0.25


class MeasuredPoller:
    """A poller (`select.epoll`) that notes what lies between two waits.

    `longest` is the longest turn's CPU seconds since it was last taken, with the seconds that it took on the clock.
    """

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self._cpu, self._clock = time.thread_time(), time.monotonic()
        self.longest: tuple[float, float] = (0.0, 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def poll(self, *arguments: Any) -> Any:
        """Wait for events; before it a turn has ended, after it the next one begins."""
        cpu = time.thread_time() - self._cpu
        if cpu > self.longest[0]:
            self.longest = (cpu, time.monotonic() - self._clock)
        events = self._poller.poll(*arguments)
        self._cpu, self._clock = time.thread_time(), time.monotonic()
        return events


def measure_turns(reactor: Any, path: Path) -> None:
    """Append a line to a file each quarter of a second: the time, and the longest turn's seconds of CPU and of clock.

    :param reactor: an epoll reactor that does not run yet.
    """
    measured = reactor._poller = MeasuredPoller(reactor._poller)

    def keep_writing() -> None:
        with path.open("a", buffering=1) as file:
            while True:
                time.sleep(_WRITE_SECONDS)
                (cpu, clock), measured.longest = measured.longest, (0.0, 0.0)
                file.write(f"{time.monotonic():.3f} {cpu:.6f} {clock:.6f}\n")

    threading.Thread(target=keep_writing, name="turns", daemon=True).start()


def longest_turns(path: Path) -> list[tuple[float, float]]:
    """Return what was written: times, and the CPU milliseconds of the longest turn since the time before."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(float(line[0]), float(line[1]) * 1000) for line in lines if len(line) == 3]

"""What a sink has served of one peer, and waiting for it while the workers live."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.draining import Count
from benchmarks.peers.stores import Missing
from benchmarks.sink import Sink


class Served:
    """Counts from now on."""

    def __init__(self, sink: Sink, log: Path) -> None:
        self._count = Count(sink)
        self._log = log

    def wait(
        self, count: int, give_up_at: float, started: Sequence[subprocess.Popen[bytes]], pause_seconds: float = 0.02
    ) -> tuple[int, float]:
        """Wait until so many are served, or for so long; return how many are, and when.

        :raises Missing: the workers have ended.
        """
        while True:
            served, now = self._count.now(), time.monotonic()
            if served >= count or now > give_up_at:
                return served, now
            if all(process.poll() is not None for process in started):
                raise Missing(f"its workers ended: {last_words(self._log)}")
            time.sleep(pause_seconds)


def last_words(log: Path) -> str:
    """Return the last line that workers printed."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "(they said nothing)"

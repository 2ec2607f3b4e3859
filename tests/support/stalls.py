"""When the machine stood still, or others used up its processor: that makes nothing late that is held to a deadline."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from types import TracebackType

from tests.support.starved import starved_seconds

_TICK_SECONDS = 0.05
#: A tick that comes later than this was kept from coming.
_LATE_SECONDS = 0.5


class Stalls:
    """A thread that ticks, and notes when it could not, and who waited. Times are `time.monotonic()`."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        self._ticked_at = time.monotonic()
        self._starved = [(self._ticked_at, starved_seconds())]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def within(self, begin: float, end: float) -> float:
        """Return for how many seconds of a time the machine stood still, or the processor was not there for all."""
        return max(self._stood_still(begin, end), self._starved_at(end) - self._starved_at(begin))

    def _stood_still(self, begin: float, end: float) -> float:
        # What began to stand still may not have ticked again yet.
        found = [*self._found, *self._late_since(time.monotonic())]
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in found)

    def _starved_at(self, at: float) -> float:
        # What the kernel had counted by then. As it is seen at ticks, a hair more: nothing is held too strictly.
        seen = [*self._starved, (time.monotonic(), starved_seconds())]
        index = bisect_left(seen, (at, 0.0))
        return seen[min(index, len(seen) - 1)][1]

    def _late_since(self, now: float) -> list[tuple[float, float]]:
        return [(self._ticked_at, now)] if now - self._ticked_at > _LATE_SECONDS else []

    def _tick(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            now = time.monotonic()
            self._found += self._late_since(now)
            self._ticked_at = now
            self._starved.append((now, starved_seconds()))

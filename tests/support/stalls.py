"""When the machine stood still: a processor that others use up makes nobody late who is held to a deadline."""

from __future__ import annotations

import threading
import time
from types import TracebackType

_TICK_SECONDS = 0.05
#: A tick that comes later than this was kept from coming.
_LATE_SECONDS = 0.5


class Stalls:
    """A thread that ticks, and notes when it could not. Times are `time.monotonic()`."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        self._ticked_at = time.monotonic()
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
        """Give for how many seconds of a time it stood still."""
        # What began to stand still may not have ticked again yet.
        found = [*self._found, *self._late_since(time.monotonic())]
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in found)

    def _late_since(self, now: float) -> list[tuple[float, float]]:
        return [(self._ticked_at, now)] if now - self._ticked_at > _LATE_SECONDS else []

    def _tick(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            now = time.monotonic()
            self._found += self._late_since(now)
            self._ticked_at = now

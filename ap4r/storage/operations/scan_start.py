"""Where an index scan may begin, when scanning from its front is slow.

Rows that were deleted while an older transaction is still open stay in the index of PostgreSQL and of InnoDB, and a
scan for the first rows reads past all of them: after a million messages, that takes a second. As long as this is so,
most scans begin shortly before the place where the last one ended. A trial shows whether it is so: the same scan from
both places.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ap4r.storage.access.transaction import MICROSECONDS

FRONT = -(2**62)  #: before everything
#: A scan from the front that took longer than this causes a trial, at most once in so many seconds.
_SLOW_SECONDS, _TRIAL_SECONDS = 0.008, 1.0
#: The front is slow if a scan from there takes at least so long, and so many times as long as from the last end. The
#: fastest of several tries counts, because a busy machine slows some of them down.
_SLOW_FRONT_SECONDS, _SLOW_FRONT_TIMES, _TRIES = 0.003, 4.0, 6
_CERTAIN_SECONDS = 0.1  #: one try is enough then
#: Slow scans take at most one part in so many of the time, and happen at least once in so many seconds.
_PARTS, _LONGEST_SECONDS = 20.0, 15.0
#: Rows may be committed before others that are newer: how far a scan begins before the last one's end.
_OVERLAP = MICROSECONDS
_MOST_PLACES = 1_000


class ScanStart:
    """Remembers where scans ended, by lane, and whether scanning from the front is slow. Time is monotonic."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._taken: Counter[int] = Counter()
        self._near_until = 0.0
        self._try_at = 0.0
        self._was_slow = False  # the result of the last scan from the front

    def is_slow(self, now: float) -> bool:
        """Return whether to scan only near the ends, for now."""
        return now < self._near_until

    def scanned(self, now: float, seconds: float, look: Callable[[int, int], object]) -> None:
        """Record how long a scan from the front took; if long, find out whether the front is the cause.

        :param look: searches the first row of a lane from a position.
        """
        if seconds < _SLOW_SECONDS:
            self._was_slow = False
        if seconds < _SLOW_SECONDS or now < self._try_at or not self._taken:
            return
        [(lane, _)] = self._taken.most_common(1)
        self._taken.clear()
        if self._was_slow and seconds > _CERTAIN_SECONDS:
            # Another scan would take as long again, and the time of a claim is bounded.
            self.tried(now, seconds, seconds, _timed(look, lane, self.begin(lane)))
            return
        tries: list[tuple[float, float]] = []
        while len(tries) < _TRIES and (not tries or tries[-1][0] < _CERTAIN_SECONDS):
            tries.append((_timed(look, lane, FRONT), _timed(look, lane, self.begin(lane))))
        self.tried(now, seconds, min(front for front, _ in tries), min(near for _, near in tries))

    def tried(self, now: float, seconds: float, front_seconds: float, near_seconds: float) -> None:
        """Record the result of a trial, after a scan that took `seconds`."""
        is_slow_now = front_seconds > max(_SLOW_FRONT_SECONDS, _SLOW_FRONT_TIMES * near_seconds)
        self._was_slow = is_slow_now
        self._near_until = now + min(_PARTS * seconds, _LONGEST_SECONDS) if is_slow_now else 0.0
        self._try_at = self._near_until if is_slow_now else now + _TRIAL_SECONDS

    def failed(self, now: float) -> None:
        """Record that a scan did not complete. If the front was slow before, it may now be too slow to complete."""
        if self._was_slow:
            self._near_until = self._try_at = now + _LONGEST_SECONDS

    def took(self, lane: int, position: int, count: int) -> None:
        """Record that rows of a lane were taken, up to a position."""
        self._taken[lane] += count
        self.ended(lane, position)

    def ended(self, lane: int, position: int) -> None:
        """Record how far a lane was read: rows before that were taken, or did not exist."""
        self._ends.pop(lane, None)
        self._ends[lane] = position
        if len(self._ends) > _MOST_PLACES:
            del self._ends[next(iter(self._ends))]

    def lanes(self) -> list[int]:
        """Return the lanes whose ends are known."""
        return list(self._ends)

    def begin(self, lane: int) -> int:
        """Return the position from which to scan a lane near its end."""
        end = self._ends.get(lane)
        return FRONT if end is None else end - _OVERLAP


def _timed(look: Callable[[int, int], object], lane: int, place: int) -> float:
    began = time.monotonic()
    look(lane, place)
    return time.monotonic() - began

"""Where a look into an index may begin, when looking from its front is dear.

Rows that were deleted while an older transaction is still open stay in the index of PostgreSQL and of InnoDB, and
whoever looks for the first rows reads past all of them: after a million messages, a second. So while that is so, most
looks begin shortly before the place where the last one ended. Whether it is so shows in a trial: the same look from
both places.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ap4r.storage.access.transaction import MICROSECONDS

FRONT = -(2**62)  #: before everything
#: A look from the front that took longer than this gives reason for a trial, once in so many seconds.
_SLOW_SECONDS, _TRIAL_SECONDS = 0.008, 1.0
#: The front is dear when looking from there takes so long, and so many times as long as from the last end. The
#: quickest of several tries counts, for a busy machine makes some of them slow.
_DEAR_SECONDS, _DEAR_TIMES, _TRIES = 0.003, 4.0, 6
_CERTAIN_SECONDS = 0.1  #: one try is enough then
#: Dear looks take at most one part in so many of the time, and are as rare as this at most.
_PARTS, _LONGEST_SECONDS = 20.0, 15.0
#: Rows may be committed behind others that are older: by how much a look begins before the last one's end.
_OVERLAP = MICROSECONDS
_MOST_PLACES = 1_000


class ScanStart:
    """Remembers where looks ended, by lane, and whether looking from the front is dear. Time is monotonic."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._taken: Counter[int] = Counter()
        self._near_until = 0.0
        self._try_at = 0.0
        self._was_dear = False  # what the last look from the front has shown

    def are_near(self, now: float) -> bool:
        """Tell whether to look near the ends only, for now."""
        return now < self._near_until

    def looked(self, now: float, seconds: float, look: Callable[[int, int], object]) -> None:
        """Note how long a look from the front took; if long, find out whether that is the front's fault.

        :param look: looks for the first row of a lane from a position.
        """
        if seconds < _SLOW_SECONDS:
            self._was_dear = False
        if seconds < _SLOW_SECONDS or now < self._try_at or not self._taken:
            return
        [(lane, _)] = self._taken.most_common(1)
        self._taken.clear()
        if self._was_dear and seconds > _CERTAIN_SECONDS:
            # Looking once more would take as long again, and the time of a claim is bounded.
            self.tried(now, seconds, seconds, _timed(look, lane, self.begin(lane)))
            return
        tries: list[tuple[float, float]] = []
        while len(tries) < _TRIES and (not tries or tries[-1][0] < _CERTAIN_SECONDS):
            tries.append((_timed(look, lane, FRONT), _timed(look, lane, self.begin(lane))))
        self.tried(now, seconds, min(front for front, _ in tries), min(near for _, near in tries))

    def tried(self, now: float, seconds: float, front_seconds: float, near_seconds: float) -> None:
        """Note what a trial has shown, after a look that took `seconds`."""
        is_dear = front_seconds > max(_DEAR_SECONDS, _DEAR_TIMES * near_seconds)
        self._was_dear = is_dear
        self._near_until = now + min(_PARTS * seconds, _LONGEST_SECONDS) if is_dear else 0.0
        self._try_at = self._near_until if is_dear else now + _TRIAL_SECONDS

    def failed(self, now: float) -> None:
        """Note that a look did not come to its end. Where the front was dear before, it may be out of reach now."""
        if self._was_dear:
            self._near_until = self._try_at = now + _LONGEST_SECONDS

    def took(self, lane: int, position: int, count: int) -> None:
        """Note that rows of a lane were taken, up to a position."""
        self._taken[lane] += count
        self.ended(lane, position)

    def ended(self, lane: int, position: int) -> None:
        """Note how far a lane was read: what is before that was taken, or was not there."""
        self._ends.pop(lane, None)
        self._ends[lane] = position
        if len(self._ends) > _MOST_PLACES:
            del self._ends[next(iter(self._ends))]

    def lanes(self) -> list[int]:
        """Give the lanes whose ends are known."""
        return list(self._ends)

    def begin(self, lane: int) -> int:
        """Give the position from which a lane is to be read, when looking near its end."""
        end = self._ends.get(lane)
        return FRONT if end is None else end - _OVERLAP


def _timed(look: Callable[[int, int], object], lane: int, place: int) -> float:
    began = time.monotonic()
    look(lane, place)
    return time.monotonic() - began

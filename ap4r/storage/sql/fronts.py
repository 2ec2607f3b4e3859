"""Where a look into an index may begin, when looking from its front is dear.

Rows that were deleted while an older transaction is still open stay in the index of PostgreSQL and of InnoDB, and
whoever looks for the first rows reads past all of them: after a million messages, a second. So while a look from the
front is dear, most looks begin shortly before the place where the last one ended.
"""

from __future__ import annotations

from ap4r.storage.sql.transaction import MICROSECONDS

#: A look with a statement that took longer than this, twice in a row, is dear. Once may be a busy machine.
_DEAR_SECONDS = 0.05
#: Dear looks take at most one part in so many of the time, and are as rare as this at most.
_PARTS, _LONGEST_SECONDS = 20.0, 15.0
#: A look that took no longer than this is repeated from the front when it found nothing further on.
_BEARABLE_SECONDS = 0.2
#: Rows may be committed behind others that are older: by how much a look begins before the last one's end.
_OVERLAP = MICROSECONDS
_MOST_PLACES = 1_000
FRONT = -(2**62)  #: before everything


class Fronts:
    """Remembers where looks ended, by lane, and how long they took. Time is monotonic, in seconds."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._seconds = self._last_seconds = 0.0
        self._cost_seconds = 0.0
        self._again_at = 0.0

    def are_near(self, now: float) -> bool:
        """Tell whether to look near the ends only, for now."""
        return now < self._again_at

    @property
    def are_bearable(self) -> bool:
        """Whether a look from the front, if dear, is not so dear that it must wait."""
        return self._cost_seconds <= _BEARABLE_SECONDS

    def asked(self, began: float, ended: float) -> None:
        """Note how long one statement of a look from the front took."""
        self._seconds = max(self._seconds, ended - began)

    def looked(self, now: float) -> None:
        """Note that a look from the front is over."""
        seconds, self._seconds = self._seconds, 0.0
        self._cost_seconds, self._last_seconds = min(seconds, self._last_seconds), seconds
        wait_seconds = min(_PARTS * self._cost_seconds, _LONGEST_SECONDS)
        self._again_at = now + wait_seconds if self._cost_seconds > _DEAR_SECONDS else 0.0

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

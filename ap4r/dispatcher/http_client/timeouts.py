"""Many deadlines over one timer of the reactor: most are met, and those cost little more than their place in a heap.

They count the time in which the reactor was not blocked, because a blocked reactor receives nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ap4r.dispatcher.clock.clock_watch import RunningTime

#: Met deadlines are removed when they are more than half of all, and more than this.
_MET_KEPT = 256


class Deadline:
    """One deadline."""

    __slots__ = ("_deadlines", "_expired")

    def __init__(self, deadlines: Deadlines, expired: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self._expired: Callable[[], None] | None = expired

    @property
    def is_open(self) -> bool:
        """Whether it was neither met nor has expired."""
        return self._expired is not None

    def meet(self) -> None:
        """Mark it as met; repeating that is harmless."""
        if self._expired is not None:
            self._expired = None
            self._deadlines.met()

    def expire(self) -> None:
        """Expire it, if it is open."""
        expired, self._expired = self._expired, None
        if expired is not None:
            expired()


class Deadlines:
    """Sets deadlines, and calls back when they expire."""

    def __init__(self, clock: IReactorTime, time: RunningTime | None = None) -> None:
        self._clock = clock
        self._time = time or RunningTime(clock)
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = count()
        self._met = 0
        self._timer: IDelayedCall | None = None
        self._timer_at = float("inf")

    def set(self, seconds: float, expired: Callable[[], None]) -> Deadline:
        """Call `expired` in so many seconds, unless the deadline is met before."""
        deadline = Deadline(self, expired)
        # RunningTime.seconds, without the call: each delivery has two deadlines.
        at = self._clock.seconds() - self._time.stood_still_seconds + seconds
        heapq.heappush(self._heap, (at, next(self._numbers), deadline))
        if at < self._timer_at:
            self._set_timer(at, seconds)
        return deadline

    def close(self) -> None:
        """Stop the timer once every deadline is met; a later one starts it again."""
        if self._timer is not None and not any(deadline.is_open for _, _, deadline in self._heap):
            self._timer.cancel()
            self._timer, self._timer_at = None, float("inf")

    def met(self) -> None:
        """Count a met deadline (called by the deadline)."""
        self._met += 1
        if self._met > _MET_KEPT and 2 * self._met > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].is_open]
            heapq.heapify(self._heap)
            self._met = 0

    def _set_timer(self, at: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._clock.callLater(seconds, self._pass)

    def _pass(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        now = self._time.seconds_now()
        due: list[Deadline] = []
        while self._heap and (self._heap[0][0] <= now or not self._heap[0][2].is_open):
            deadline = heapq.heappop(self._heap)[2]
            if deadline.is_open:
                due.append(deadline)
            else:
                self._met -= 1
        if self._heap:
            at = self._heap[0][0]
            self._set_timer(at, max(0.0, at - now))
        due.reverse()
        self._expire(due)

    def _expire(self, due: list[Deadline]) -> None:
        try:
            while due:
                due.pop().expire()
        finally:
            # The reactor reports one that raises; the others must still end.
            if due:
                self._clock.callLater(0.0, self._expire, due)

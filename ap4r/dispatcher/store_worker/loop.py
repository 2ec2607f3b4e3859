"""A loop that never ends by an error: it catches a turn's exception, reports it, waits longer each time, and continues.

It does not depend on what its turns do. (Twisted's TimerService stops for good after the first error.)
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

FIRST_WAIT_SECONDS = 0.1

Turn = Callable[[], Coroutine[Deferred[Any], Any, "float | None"]]


class FailureListener(Protocol):
    """Receives the failures of loops."""

    def turn_failed(self, doing: str, failure: Failure, wait_seconds: float) -> None:
        """Record that a turn of the loop named `doing` failed, and that the next begins in `wait_seconds`."""


class Loop:
    """Runs `turn` when its time has come; a turn returns the seconds until the next, or None to wait for `wake`.

    :param doing: what the turns do, in one word or two, for the report of a failure.
    """

    def __init__(
        self,
        clock: IReactorTime,
        doing: str,
        turn: Turn,
        failures: FailureListener,
        *,
        longest_wait_seconds: float = 5.0,
    ) -> None:
        self._clock = clock
        self._turn = turn
        self._doing = doing
        self._listener = failures
        self._longest_wait_seconds = longest_wait_seconds
        self._timer: IDelayedCall | None = None
        self._next_at: float | None = None
        self._not_before = float("-inf")
        self._failures = 0
        self._started = False
        self._turning: Deferred[None] | None = None
        self._trying_since: float | None = None
        self.turned_at: float | None = None  #: when the last turn that succeeded ended

    def start(self, in_seconds: float = 0.0) -> None:
        """Start the loop; the first turn begins in `in_seconds`."""
        self._started = True
        self.wake(in_seconds)

    def wake(self, in_seconds: float = 0.0) -> None:
        """Begin a turn in `in_seconds` at the latest, but never before the wait after a failure is over."""
        if not self._started:
            return
        at = max(self._clock.seconds() + in_seconds, self._not_before)
        if self._next_at is not None and self._next_at <= at:
            return
        self._next_at = at
        if self._turning is None:
            self._set_timer()

    def stop(self) -> Deferred[None]:
        """Begin no further turn; the Deferred fires when a running one has ended."""
        self._started = False
        self._next_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._turning is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._turning.chainDeferred(ended)
        return ended

    @property
    def is_turning(self) -> bool:
        """Whether a turn is running."""
        return self._turning is not None

    @property
    def is_well(self) -> bool:
        """Whether it runs, and its last turn did not fail."""
        return self._started and not self._failures

    def late_seconds(self) -> float:
        """Return for how long a turn has been due without one that succeeded; 0.0 without a delay."""
        since = self._next_at if self._trying_since is None else self._trying_since
        return 0.0 if since is None else max(0.0, self._clock.seconds() - since)

    def _set_timer(self) -> None:
        assert self._next_at is not None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, self._next_at - self._clock.seconds()), self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._next_at = None
        self._turning = Deferred()
        if self._trying_since is None:
            self._trying_since = self._clock.seconds()
        Deferred.fromCoroutine(self._turn()).addCallbacks(self._turned, self._failed)

    def _turned(self, in_seconds: float | None) -> None:
        self._failures = 0
        self._not_before = float("-inf")
        self._trying_since = None
        self.turned_at = self._clock.seconds()
        self._ended(in_seconds)

    def _failed(self, failure: Failure) -> None:
        wait_seconds = min(self._longest_wait_seconds, FIRST_WAIT_SECONDS * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._not_before = self._clock.seconds() + wait_seconds
        self._next_at = None
        try:
            self._listener.turn_failed(self._doing, failure, wait_seconds)
        finally:
            # A report that raises is logged by the Deferred; it must not end the loop.
            self._ended(wait_seconds)

    def _ended(self, in_seconds: float | None) -> None:
        turning, self._turning = self._turning, None
        if self._started:
            if in_seconds is not None:
                self.wake(in_seconds)
            if self._next_at is not None and self._timer is None:
                self._set_timer()
        if turning is not None:
            turning.callback(None)

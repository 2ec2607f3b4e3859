"""Outages of a store: the beginning of each failure and the end of the outage become events.

It does not wait or retry; the loops do.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ap4r.errors import OwnerLost, StoreError
from ap4r.events.bus import Events
from ap4r.events.events import StoreFailed, StoreRecovered, Unexpected


class OwnerListener(Protocol):
    """Is called when the store does not have an owner id any more."""

    def owner_lost(self, owner: str) -> None:
        """Handle the loss of this owner id."""


class StoreOutage:
    """Records which kinds of store calls fail, and since when."""

    def __init__(self, store: str, clock: IReactorTime, events: Events) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._since: float | None = None
        # By kind of call: on a full disk reads succeed while writes fail, which is no recovery.
        self._failing: set[str] = set()
        self.problem: str | None = None  #: the last problem, while the outage lasts

    @property
    def lasts(self) -> bool:
        """Whether any kind of call failed and has not succeeded since."""
        return self._since is not None

    def failed(self, doing: str, problem: str, wait_seconds: float) -> None:
        """Record that a call failed and is retried in `wait_seconds`."""
        if self._since is None:
            self._since = self._clock.seconds()
        self._failing.add(doing)
        self.problem = problem
        self._events.emit(StoreFailed(self._store, doing, problem, wait_seconds))

    def answered(self, doing: str) -> None:
        """Record that a call succeeded."""
        if self._since is None:
            return
        self._failing.discard(doing)
        if not self._failing:
            self.problem = None
            seconds, self._since = self._clock.seconds() - self._since, None
            self._events.emit(StoreRecovered(self._store, seconds))


class LoopFailures:
    """Receives the failures of a store worker's loops: outages, lost owner ids, and defects."""

    def __init__(self, outage: StoreOutage, events: Events, listener: OwnerListener) -> None:
        self._outage = outage
        self._events = events
        self._listener = listener

    def turn_failed(self, doing: str, failure: Failure, wait_seconds: float) -> None:
        """Record why a turn of a loop failed."""
        error = failure.value
        if isinstance(error, OwnerLost):
            self._listener.owner_lost(error.owner)
        elif isinstance(error, StoreError):
            self._outage.failed(doing, str(getattr(error, "problem", error)), wait_seconds)
        else:
            self._events.emit(Unexpected(doing, failure.getTraceback()))

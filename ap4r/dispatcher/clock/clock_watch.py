"""Changes of this machine's clocks: steps of the wall clock, sleeps of the machine, standstills of the reactor.

It reads the clocks once a second and emits an event for each change. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.events import events as happened
from ap4r.events.bus import Events

LOOK_SECONDS = 1.0
#: The wall clock is slewed by half a millisecond a second at most; a larger move at once is a step.
LEAST_STEP_SECONDS = 0.5
#: A reading that comes so much later was prevented: the reactor, or the whole process, was blocked.
LEAST_STANDSTILL_SECONDS = 1.0
#: How long the health page reports a standstill.
REMEMBERED_SECONDS = 60.0
_TRIES, _AT_ONCE_SECONDS = 5, 0.02


class Clocks(NamedTuple):
    """The readings of three clocks at one instant, in seconds."""

    wall: float
    monotonic: float  #: stops while the machine sleeps
    boottime: float  #: continues then


def changes(before: Clocks, after: Clocks) -> Iterator[happened.Event]:
    """Yield what happened between two readings, the second of which was due `LOOK_SECONDS` after the first."""
    slept_seconds = (after.boottime - before.boottime) - (after.monotonic - before.monotonic)
    # The wall clock continues during a sleep, as the boot-time clock does.
    step_seconds = (after.wall - before.wall) - (after.boottime - before.boottime)
    late_seconds = after.monotonic - before.monotonic - LOOK_SECONDS
    if late_seconds >= LEAST_STANDSTILL_SECONDS:
        yield happened.StoodStill(late_seconds)
    if slept_seconds >= LEAST_STEP_SECONDS:
        yield happened.MachineSlept(slept_seconds)
    if abs(step_seconds) >= LEAST_STEP_SECONDS:
        yield happened.ClockStepped(step_seconds)


class RunningTime:
    """Monotonic time without the reactor's standstills, for deadlines.

    A blocked reactor reads no answer, so that time must not count against the other side.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._looked_at: float | None = None
        self.stood_still_seconds = 0.0  #: in total, as of the last reading

    def seconds(self) -> float:
        """Return the time as of the last check for standstills, from which a new deadline counts."""
        return self._clock.seconds() - self.stood_still_seconds

    def seconds_now(self) -> float:
        """Return the time without standstills, including one that has only just ended, for checking a deadline."""
        now = self._clock.seconds()
        return now - self.stood_still_seconds - self.late_seconds(now)

    def late_seconds(self, now: float) -> float:
        """Return for how long a check has been overdue; 0.0 while the reactor is not blocked."""
        if self._looked_at is None:
            return 0.0
        late_seconds = now - self._looked_at - LOOK_SECONDS
        return late_seconds if late_seconds >= LEAST_STANDSTILL_SECONDS else 0.0

    def looked(self, now: float) -> None:
        """Record that the reactor is not blocked, once each `LOOK_SECONDS`."""
        self.stood_still_seconds += self.late_seconds(now)
        self._looked_at = now

    def stopped(self) -> None:
        """Record that there will be no further check."""
        self._looked_at = None


class ClockWatch:
    """Reads the clocks while it runs.

    :param changed: called after a step or a sleep, when due times, and others' view of us, may have changed.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        changed: Callable[[], None],
        *,
        wall: Callable[[], float],
        boottime: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._events = events
        self._changed = changed
        self._wall = wall
        self._boottime = boottime
        self._loop = Loop(clock, "looking at the clocks", self._look, self)
        self._last: Clocks | None = None
        self._standstills: list[tuple[float, float]] = []  # until when (monotonic), for how long
        self.running_time = RunningTime(clock)

    def start(self) -> None:
        """Start reading."""
        self._last = self._read()
        self.running_time.looked(self._last.monotonic)
        self._loop.start(LOOK_SECONDS)

    def stop(self) -> Deferred[None]:
        """Stop reading."""
        self.running_time.stopped()
        return self._loop.stop()

    def longest_standstill_seconds(self) -> float:
        """Return the longest standstill of the last minute, including one that has only just ended."""
        now = self._clock.seconds()
        lately = [seconds for until, seconds in self._standstills if now - until <= REMEMBERED_SECONDS]
        return max(*lately, self.running_time.late_seconds(now), 0.0)

    async def _look(self) -> float | None:
        last, now = self._last, self._read()
        assert last is not None
        self._last = now
        self.running_time.looked(now.monotonic)
        self._standstills = [one for one in self._standstills if now.monotonic - one[0] <= REMEMBERED_SECONDS]
        found = list(changes(last, now))
        for event in found:
            if isinstance(event, happened.StoodStill):
                self._standstills.append((now.monotonic, event.seconds))
            self._events.emit(event)
        if any(isinstance(event, (happened.ClockStepped, happened.MachineSlept)) for event in found):
            self._changed()
        return LOOK_SECONDS

    def _read(self) -> Clocks:
        # One right after the other: a process that is interrupted in between must not report a step.
        for _ in range(_TRIES):
            began = self._boottime()
            clocks = Clocks(self._wall(), self._clock.seconds(), began)
            if self._boottime() - began < _AT_ONCE_SECONDS:
                break
        return clocks

    def turn_failed(self, doing: str, failure: Failure, wait_seconds: float) -> None:
        """Report a defect in its own loop."""
        self._events.emit(happened.Unexpected(doing, failure.getTraceback()))

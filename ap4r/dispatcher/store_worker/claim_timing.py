"""Computes when to claim next. Pure: time is an argument. The claim loop uses it."""

from __future__ import annotations

#: A bell is only a hint, and any number of them cause at most one claim in this time.
BELL_PAUSE_SECONDS = 0.005
#: Writers ring once for several commits, and a bell may overtake its commit: after a claim that followed a bell and
#: left nothing to claim, the store is polled again after these times.
LADDER_SECONDS = (0.010, 0.050, 0.250)
#: Freed room is collected for this long, so that a claim brings several messages.
GATHER_SECONDS = 0.005
#: A claim for a due message is made this much after its time: a timer that is early by its rounding finds nothing.
DUE_MARGIN_SECONDS = 0.002
#: The least time between two claims for messages that seemed due, when they found nothing; it doubles.
DUE_PAUSE_SECONDS = 0.010
LONGEST_DUE_PAUSE_SECONDS = 1.0


class ClaimTiming:
    """Collects the reasons for a claim and returns the time of the next."""

    def __init__(self) -> None:
        self._rung = False
        self._rung_before = float("-inf")
        self._climb = False
        self._ladder: list[float] = []
        self._due_at: float | None = None
        self._found_nothing = 0
        self.wants_more = False  #: the store may have more than there was room for

    def ring(self, now: float) -> float:
        """Record a bell; return when to claim."""
        self._rung = True
        return max(now, self._rung_before + BELL_PAUSE_SECONDS)

    def due_in(self, now: float, seconds: float) -> float:
        """Record that a message is due in so many seconds; return when to claim."""
        wait_seconds = seconds + DUE_MARGIN_SECONDS
        if seconds <= 0.0 and self._found_nothing:
            # A store may report messages as due that it withholds, above all in lanes of held targets.
            wait_seconds = min(LONGEST_DUE_PAUSE_SECONDS, DUE_PAUSE_SECONDS * 2.0 ** min(self._found_nothing - 1, 10))
        at = now + wait_seconds
        self._due_at = at if self._due_at is None else min(self._due_at, at)
        return self._due_at

    def claiming(self, now: float) -> None:
        """Record that a claim begins."""
        if self._rung:
            self._rung = False
            self._rung_before = now
            self._climb = True
            self._ladder = []
        while self._ladder and self._ladder[0] <= now:
            self._ladder.pop(0)
        if self._due_at is not None and self._due_at <= now:
            self._due_at = None

    def no_room(self) -> None:
        """Record that a claim was due and there was no room for one."""
        self.wants_more = True

    def claimed(self, now: float, count: int, more: bool, next_due_in_seconds: float | None) -> None:
        """Record the result of a claim."""
        self.wants_more = more
        self._found_nothing = 0 if count else self._found_nothing + 1
        self._due_at = None
        if next_due_in_seconds is not None:
            self.due_in(now, next_due_in_seconds)
        if not more and self._climb:
            self._climb = False
            self._ladder = [now + seconds for seconds in LADDER_SECONDS]

    def next_at(self, now: float, hold_ends_at: float | None) -> float | None:
        """Return when to claim next, without room freed until then; None for not before something happens."""
        times = [at for at in (self._due_at, hold_ends_at) if at is not None]
        times.extend(self._ladder[:1])
        if self._rung:
            times.append(max(now, self._rung_before + BELL_PAUSE_SECONDS))
        return min(times, default=None)

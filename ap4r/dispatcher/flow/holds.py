"""Targets that get no call for a while: unreachable servers, and queues whose action asked for a pause.

A hold ends with a probe: one call is made, and its result decides. Pure: time and random numbers are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from ap4r.outcome.outcome import Failure

FIRST_HOLD_SECONDS = 1.0
#: The longest hold: a target that answered 503 or a Retry-After of an hour is still probed this often.
LONGEST_HOLD_SECONDS = 30.0
#: A hold that has ended and that no message probes for so long is dropped: its messages were delivered by another
#: dispatcher, or given up.
FORGET_SECONDS = 60.0
#: The most holds, as many as there can be lanes; above it the one that ends first is dropped.
MOST_HOLDS = 100_000

#: A server's key is its origin, that of a queue at a server is both.
Key = str | tuple[str, str]


def growing_wait(times: int, longest_seconds: float, random: float) -> float:
    """Return 1, 2, 4 … seconds for the 1st, 2nd, 3rd time in a row, up to `longest_seconds`, less up to a quarter.

    The jitter prevents several dispatchers from probing at the same time.

    :param random: a number from 0 up to 1.
    """
    full = min(longest_seconds, FIRST_HOLD_SECONDS * 2.0 ** min(times - 1, 30))
    return full * (1.0 - 0.25 * random)


@dataclass(slots=True)
class Hold:
    """One hold. It is closed until its end and while its probe runs; in between the next call probes."""

    since: float
    until: float
    why: Failure
    times: int = 1
    probing: bool = False
    closed: bool = True


class Holds:
    """All holds of a process. Their cost does not grow with their number, and those that ended are dropped."""

    def __init__(self, most: int = MOST_HOLDS) -> None:
        self._most = most
        self._holds: dict[Key, Hold] = {}
        self._ends: list[tuple[float, int, Key]] = []
        self._forgets: list[tuple[float, int, Key]] = []
        self._number = count()
        self._watchers: list[Callable[[Key], None]] = []
        self._listeners: list[Callable[[], None]] = []
        self.closed: set[Key] = set()  #: the keys that get no call now, as of the last `advance`
        self.version = 0  #: changes with each change

    def __len__(self) -> int:
        return len(self._holds)

    def watch(self, changed: Callable[[Key], None]) -> None:
        """Register `changed`, which is called with each key that is closed or opened."""
        self._watchers.append(changed)

    def listen(self, changed: Callable[[], None]) -> None:
        """Register `changed`, which is called after each change, also of an end."""
        self._listeners.append(changed)

    def advance(self, now: float) -> None:
        """Open the keys that may be probed by now, and drop those that nothing probes."""
        ends, forgets = self._ends, self._forgets
        while ends and ends[0][0] <= now:
            at, _, key = heappop(ends)
            hold = self._holds.get(key)
            if hold is not None and hold.until == at and hold.closed and not hold.probing:
                self._set_closed(key, hold, False)
        while forgets and forgets[0][0] <= now:
            _, _, key = heappop(forgets)
            hold = self._holds.get(key)
            if hold is not None and not hold.closed and now >= hold.until + FORGET_SECONDS:
                self._drop(key, hold)

    def is_held(self, key: Key, now: float) -> bool | None:
        """Return whether a key gets no call now; None without a hold, False if the next call probes."""
        hold = self._holds.get(key)
        return None if hold is None else hold.probing or now < hold.until

    def probe(self, key: Key) -> None:
        """Record that a probe begins."""
        hold = self._holds[key]
        hold.probing = True
        self._set_closed(key, hold, True)

    def hold(
        self, key: Key, now: float, random: float, why: Failure, *, probe: bool, asked_seconds: float = 0.0
    ) -> float | None:
        """Hold a key; return the seconds, or None if it was held already.

        Calls that were in flight when the hold began show nothing new, so only a probe lengthens it.

        :param asked_seconds: the pause that the target named; obeyed up to the longest hold.
        """
        asked_seconds = min(asked_seconds, LONGEST_HOLD_SECONDS)
        hold = self._holds.get(key)
        if hold is not None and not probe:
            if now + asked_seconds > hold.until:
                self._end_at(key, hold, now + asked_seconds)
                self._set_closed(key, hold, True)
            return None
        if hold is None:
            hold = self._holds[key] = Hold(now, now, why, closed=False)
            if len(self._holds) > self._most:
                self._forget_one()
        else:
            hold.times += 1
            hold.probing = False
            hold.why = why
        seconds = max(growing_wait(hold.times, LONGEST_HOLD_SECONDS, random), asked_seconds)
        self._end_at(key, hold, now + seconds)
        self._set_closed(key, hold, True)
        return seconds

    def release(self, key: Key) -> bool:
        """Remove a hold whose probe succeeded; return whether there was one."""
        hold = self._holds.get(key)
        if hold is None:
            return False
        self._drop(key, hold)
        return True

    def unproved(self, key: Key) -> None:
        """Record that a probe was interrupted: the next call probes."""
        hold = self._holds.get(key)
        if hold is not None and hold.probing:
            hold.probing = False
            self._end_at(key, hold, hold.until)

    def cut_short(self, key: Key, now: float) -> None:
        """Allow the next call to probe at once, because there is a sign that it may succeed."""
        hold = self._holds.get(key)
        if hold is not None and hold.until > now:
            self._end_at(key, hold, now)

    def next_end_at(self, now: float) -> float | None:
        """Return when the next hold ends, or None without one."""
        ends = self._ends
        while ends:
            at, _, key = ends[0]
            hold = self._holds.get(key)
            if at > now and hold is not None and hold.until == at and not hold.probing:
                return at
            if at <= now and hold is not None and hold.until == at and hold.closed and not hold.probing:
                # Ended, and not opened yet: the next claim does that.
                self._set_closed(key, hold, False)
            heappop(ends)
        return None

    def held(self) -> Iterator[tuple[Key, Hold]]:
        """Yield the closed keys and their holds, the oldest first."""
        return ((key, hold) for key, hold in self._holds.items() if hold.closed)

    def _end_at(self, key: Key, hold: Hold, until: float) -> None:
        hold.until = until
        number = next(self._number)
        heappush(self._ends, (until, number, key))
        heappush(self._forgets, (until + FORGET_SECONDS, number, key))
        self._note_change()

    def _set_closed(self, key: Key, hold: Hold, closed: bool) -> None:
        if hold.closed == closed:
            return
        hold.closed = closed
        (self.closed.add if closed else self.closed.discard)(key)
        for changed in self._watchers:
            changed(key)
        self._note_change()

    def _note_change(self) -> None:
        self.version += 1
        for changed in self._listeners:
            changed()

    def _drop(self, key: Key, hold: Hold) -> None:
        del self._holds[key]
        self._set_closed(key, hold, False)

    def _forget_one(self) -> None:
        while self._ends:
            _, _, key = heappop(self._ends)
            hold = self._holds.get(key)
            if hold is not None and hold.until > hold.since and not hold.probing:
                self._drop(key, hold)
                return
        oldest = next(iter(self._holds))
        self._drop(oldest, self._holds[oldest])

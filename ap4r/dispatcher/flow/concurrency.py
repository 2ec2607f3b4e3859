"""Limits the calls in flight: held targets, and servers that yield. Pure: time and random numbers are arguments.

It composes the parts of flow control: the number of calls, caps, cuts and holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from ap4r.dispatcher.flow.holds import LONGEST_HOLD_SECONDS as LONGEST_HOLD_SECONDS
from ap4r.dispatcher.flow.holds import Holds
from ap4r.dispatcher.flow.holds import growing_wait as growing_wait
from ap4r.dispatcher.flow.reduced_limits import Cuts

#: A server that has this part of all calls in flight, or more, yields to other due messages.
SHARES = 4
#: If no call has ended for so long while servers over their share have them all, other due messages get a share more.
STUCK_SECONDS = 0.1


class CallAdmission(Enum):
    """Whether a call may be made, and what it probes after a hold."""

    CALL = (False, False)
    PROBE = (True, False)  #: the one call that tries a server
    PROBE_QUEUE = (False, True)  #: the one call that tries a queue at its server
    PROBE_BOTH = (True, True)
    HELD = None  #: it is held, or has its limit of calls in flight


_PROBES = {one.value: one for one in CallAdmission if one is not CallAdmission.HELD}


class Yielding(NamedTuple):
    """The servers whose lanes are claimed from after all others, and the most messages for them."""

    origins: tuple[str, ...]
    most: int


class ConcurrencyLimit:
    """Counts calls in flight and decides which targets get none, or fewer.

    A server is held when it accepts no connection, a queue at a server when its action asks for a pause. When a hold
    ends, one call probes: any answer that does not ask for a pause releases it, anything else holds it for twice as
    long.
    """

    def __init__(self, concurrency: int, caps: Mapping[str, int] | None = None) -> None:
        self.holds = Holds()
        self.cuts = Cuts()
        self._caps = dict(caps or {})
        self._in_flight = 0
        self._by_origin: Counter[str] = Counter()
        self._over: dict[str, None] = {}  # servers that have their share, or more
        self._moved_at = float("-inf")
        self.concurrency = concurrency

    @property
    def concurrency(self) -> int:
        """The most calls in flight."""
        return self._concurrency

    @concurrency.setter
    def concurrency(self, calls: int) -> None:
        self._concurrency = calls
        self._share = max(1, calls // SHARES)
        self._spare = calls // SHARES
        self._over = {origin: None for origin, count in self._by_origin.items() if count >= self._share}

    @property
    def in_flight(self) -> int:
        """The number of calls in flight."""
        return self._in_flight

    def tightest(self) -> int:
        """Return the fewest calls that reach a limit: the whole, or that of an origin with a limit of its own."""
        return min(self._concurrency, *self._caps.values()) if self._caps else self._concurrency

    def room(self, now: float) -> int:
        """Return how many messages may be claimed now.

        It is so small that no capped origin can exceed its limit, unless that has reached it already (`full_origins`
        names it then). If all calls are stuck, it is the number that may be called beside them.
        """
        room = self._concurrency - self._in_flight
        if room <= 0:
            return max(0, room + self._spare) if self.is_stuck(now) else 0
        for origin, cap in self._caps.items():
            free = cap - self._by_origin[origin]
            if free > 0:
                room = min(room, free)
        return room

    def is_stuck(self, now: float) -> bool:
        """Return whether servers over their share have all calls, and none of the calls ends."""
        return (
            self._in_flight >= self._concurrency
            and len(self._over) > 0
            and now - self._moved_at >= STUCK_SECONDS - 0.001
        )

    def stuck_at(self, now: float) -> float | None:
        """Return when there is room again if no call ends before; None if there will be none, or there is room."""
        if self._in_flight < self._concurrency or not self._over or not self._spare:
            return None
        at = self._moved_at + STUCK_SECONDS
        return at if at > now else None

    def may_begin(self) -> bool:
        """Return whether another call may begin."""
        return self._in_flight < self._concurrency

    def may_begin_beside(self, origin: str) -> bool:
        """Return whether a call may begin although none are free, because others have more than their share."""
        return origin not in self._over and self._in_flight < self._concurrency + self._spare

    def yielding(self, room: int, now: float) -> Yielding:
        """Return the servers that yield in a claim of `room` messages."""
        most = 0 if self.is_stuck(now) else room
        if not self.cuts:
            return Yielding(tuple(self._over), most)
        cut = self.cuts.origins(self._concurrency, now)
        free = [calls - self._by_origin[origin] for origin, calls in cut.items()]
        return Yielding(tuple({**self._over, **dict.fromkeys(cut)}), min(most, *(one for one in free if one > 0), most))

    def full_origins(self, now: float) -> list[str]:
        """Return the servers that have reached limits of their own."""
        full = [origin for origin, cap in self._caps.items() if self._by_origin[origin] >= cap]
        if self.cuts:
            cut = self.cuts.origins(self._concurrency, now)
            full += [origin for origin, calls in cut.items() if self._by_origin[origin] >= calls]
        return full

    def full(self, now: float) -> bool:
        """Return whether a server's own limit delays messages that wait for it."""
        return bool(self.full_origins(now)) if self._caps or self.cuts else False

    def next_probe_at(self, now: float) -> float | None:
        """Return when the next hold ends, or None without one."""
        return self.holds.next_end_at(now)

    def calls_to_cut(self, origin: str) -> int:
        """Return the number of calls that a cut is computed from: those that were in flight, and at least a share.

        If few calls are made, they are not the load from which a server asks to be spared.
        """
        return max(self._by_origin[origin] + 1, self._share)

    def admit(self, origin: str, queue: str, now: float) -> CallAdmission:
        """Decide on a call of a queue to a server; after every answer but HELD, report its end with `ended`."""
        admission = CallAdmission.CALL
        if self._caps or self.cuts:
            cap = self._caps.get(origin, self._concurrency)
            allowed = self.cuts.allowed(origin, now)
            if self._by_origin[origin] >= (cap if allowed is None else min(cap, allowed)):
                return CallAdmission.HELD
        if len(self.holds):
            lane = (queue, origin)
            server_held, lane_held = self.holds.is_held(origin, now), self.holds.is_held(lane, now)
            if server_held or lane_held:
                return CallAdmission.HELD
            admission = _PROBES[server_held is not None, lane_held is not None]
            if server_held is not None:
                self.holds.probe(origin)
            if lane_held is not None:
                self.holds.probe(lane)
        self._in_flight += 1
        if self._in_flight <= self._concurrency:
            self._moved_at = now
        calls = self._by_origin[origin] = self._by_origin[origin] + 1
        if calls == self._share:
            self._over[origin] = None
        return admission

    def ended(self, origin: str, now: float) -> None:
        """Record that a call ended. Its meaning is recorded in the holds and the cuts."""
        self._in_flight -= 1
        self._moved_at = now
        calls = self._by_origin[origin] - 1
        if calls == self._share - 1:
            self._over.pop(origin, None)
        if calls:
            self._by_origin[origin] = calls
        else:
            del self._by_origin[origin]

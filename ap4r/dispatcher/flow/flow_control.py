"""Flow control of one store: which of its lanes may be claimed from now, and which calls may begin.

One object for the claim loop and the deliveries. It joins the limits of the process with the lanes of the store.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ap4r.dispatcher.flow.concurrency import CallAdmission, ConcurrencyLimit
from ap4r.dispatcher.flow.lane_index import LaneIndex


class ClaimTurns(NamedTuple):
    """The lanes from which nothing is claimed, and those that yield to others, with the most messages from them."""

    excluded: Collection[int]
    yielding: Collection[int]
    most_yielding: int


class FlowControl:
    """What one store may claim and call now. Every instant is an argument."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.limit = limit
        self.lanes = LaneIndex(limit.holds)

    def claim_turns(self, room: int, now: float) -> ClaimTurns:
        """Return from which lanes a claim of `room` messages may take them."""
        limit, lanes = self.limit, self.lanes
        limit.holds.advance(now)
        full = limit.full_origins(now)
        yielding = limit.yielding(room, now)
        excluded = lanes.excluded()
        return ClaimTurns(excluded | lanes.of(full) if full else excluded, lanes.of(yielding.origins), yielding.most)

    def keeps_back(self, now: float) -> bool:
        """Return whether an origin's own limit delays messages that are ready."""
        return self.limit.full(now)

    def is_stuck(self, now: float) -> bool:
        """Return whether origins over their share have all calls, and none of the calls ends."""
        return self.limit.is_stuck(now)

    def stuck_at(self, now: float) -> float | None:
        """Return when there is room again if no call ends before; None if there will be none, or there is room."""
        return self.limit.stuck_at(now)

    def next_probe_at(self, now: float) -> float | None:
        """Return when the next hold ends; None without one."""
        return self.limit.next_probe_at(now)

    def may_begin(self) -> bool:
        """Return whether one more call may begin."""
        return self.limit.may_begin()

    def may_begin_beside(self, origin: str) -> bool:
        """Return whether a call to this origin may begin although no call is free."""
        return self.limit.may_begin_beside(origin)

    def admit(self, lane: int, queue: str, origin: str, now: float) -> CallAdmission:
        """Decide whether a call of a lane may begin. After every answer but HELD, report its end with `ended`."""
        self.lanes.learn(lane, queue, origin)
        return self.limit.admit(origin, queue, now)

    def ended(self, origin: str, now: float) -> None:
        """Record that a call has ended."""
        self.limit.ended(origin, now)

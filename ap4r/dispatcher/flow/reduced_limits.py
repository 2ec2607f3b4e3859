"""Servers that get fewer calls for a while, because of answers to several of their queues, or lost connections.

An answer is about its queue at that server. Only if several queues of a server ask for a pause within a few seconds
is it the server's state, and then its calls are cut, never stopped. They grow back by themselves. Pure: time is an
argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.dispatcher.flow.bounded_dict import Remembered

#: So many queues of a server must ask for a pause within so many seconds.
QUEUES, WITHIN_SECONDS = 3, 10.0
#: So many connections in a row must end without an answer of the application: reset, 502, 504.
ENDS_IN_A_ROW = 3
#: The allowed number after a cut doubles each so many seconds.
DOUBLED_SECONDS = 10.0
#: The least time between two cuts of a server: the calls in flight report the same state again.
PAUSE_SECONDS = 1.0
MOST_SERVERS = 1_000  #: whose answers are remembered


@dataclass(frozen=True, slots=True)
class _Cut:
    calls: int
    at: float


class Cuts:
    """The number of calls at once for each server, if it is less than all."""

    def __init__(self) -> None:
        self._asked: Remembered[str, dict[str, float]] = Remembered(MOST_SERVERS, WITHIN_SECONDS)
        self._ends: Remembered[str, int] = Remembered(MOST_SERVERS, WITHIN_SECONDS)
        self._cuts: dict[str, _Cut] = {}

    def __bool__(self) -> bool:
        return bool(self._cuts)

    @property
    def suspects(self) -> bool:
        """Whether a server's good answer must be reported."""
        return len(self._ends) > 0

    def asked_less(self, origin: str, queue: str, calls: int, now: float) -> int | None:
        """Record that a queue of a server asked for a pause; return the new number of calls after a cut, else None.

        :param calls: its calls in flight, or its limit.
        """
        asked = self._asked.get(origin, now) or {}
        asked = {one: at for one, at in asked.items() if now - at < WITHIN_SECONDS}
        asked[queue] = now
        while len(asked) > QUEUES:
            del asked[min(asked, key=asked.__getitem__)]
        self._asked.put(origin, asked, now)
        if len(asked) < QUEUES:
            return None
        self._asked.pop(origin)
        return self._cut(origin, calls, now)

    def ended(self, origin: str, calls: int, now: float) -> int | None:
        """Record that a connection ended without an answer of the application; return as `asked_less` does."""
        ends = (self._ends.get(origin, now) or 0) + 1
        if ends < ENDS_IN_A_ROW:
            self._ends.put(origin, ends, now)
            return None
        self._ends.pop(origin)
        return self._cut(origin, calls, now)

    def answered(self, origin: str) -> None:
        """Record an answer of the application."""
        self._ends.pop(origin)

    def allowed(self, origin: str, now: float) -> int | None:
        """Return how many calls a server is allowed; None if it was not cut."""
        cut = self._cuts.get(origin)
        return None if cut is None else int(cut.calls * 2.0 ** min(60.0, (now - cut.at) / DOUBLED_SECONDS))

    def origins(self, most: int, now: float) -> dict[str, int]:
        """Return the limit of each server that is allowed fewer than `most`; drop the others."""
        allowed = {origin: self.allowed(origin, now) or 1 for origin in self._cuts}
        for origin, calls in allowed.items():
            if calls >= most:
                del self._cuts[origin]
        return {origin: calls for origin, calls in allowed.items() if calls < most}

    def _cut(self, origin: str, calls: int, now: float) -> int | None:
        cut = self._cuts.get(origin)
        if cut is not None and now - cut.at < PAUSE_SECONDS:
            return None
        most = self.allowed(origin, now)
        fewer = max(1, (calls if most is None else min(most, calls)) // 2)
        self._cuts.pop(origin, None)
        self._cuts[origin] = _Cut(fewer, now)
        if len(self._cuts) > MOST_SERVERS:
            del self._cuts[next(iter(self._cuts))]
        return fewer

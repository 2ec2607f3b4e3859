"""Which lanes go to which origin, learnt from what was claimed. It decides nothing."""

from __future__ import annotations

from collections.abc import Collection

#: As many lanes are remembered; one that was forgotten is learnt anew from its next message.
MOST_LANES = 100_000


class Lanes:
    """The lane ids of each origin, as far as this process has met them."""

    def __init__(self, most: int = MOST_LANES) -> None:
        self._most = most
        self._origins: dict[int, str] = {}
        self._by_origin: dict[str, set[int]] = {}

    def learn(self, lane: int, origin: str) -> None:
        """Remember that a lane goes to this origin."""
        if self._origins.get(lane) == origin:
            return
        self._forget(lane)
        if len(self._origins) >= self._most:
            self._forget(next(iter(self._origins)))
        self._origins[lane] = origin
        self._by_origin.setdefault(origin, set()).add(lane)

    def of(self, origins: Collection[str]) -> frozenset[int]:
        """Give the known lanes of these origins."""
        if not origins:
            return frozenset()
        return frozenset().union(*(self._by_origin.get(origin, ()) for origin in origins))

    def _forget(self, lane: int) -> None:
        origin = self._origins.pop(lane, None)
        if origin is not None:
            lanes = self._by_origin[origin]
            lanes.discard(lane)
            if not lanes:
                del self._by_origin[origin]

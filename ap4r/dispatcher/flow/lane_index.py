"""Maps a store's lanes to servers, as learnt from claimed messages; and lists the lanes that must not be claimed.

It decides nothing: the holds of the process do.
"""

from __future__ import annotations

from collections.abc import Collection

from ap4r.dispatcher.flow.holds import Holds, Key

#: The most lanes that are remembered; a forgotten one is learnt again from its next message.
MOST_LANES = 100_000


class LaneIndex:
    """The lane ids of one store by server, and by queue and server, as far as this process has seen them."""

    def __init__(self, holds: Holds, most: int = MOST_LANES) -> None:
        self._most = most
        self._names: dict[int, tuple[str, str]] = {}
        self._by_key: dict[Key, set[int]] = {}
        self._closed = holds.closed
        self._excluded: set[int] = set()
        self._excluded_now: frozenset[int] | None = frozenset()
        self._of_origin: dict[str, frozenset[int]] = {}
        holds.watch(self._changed)

    def learn(self, lane: int, queue: str, origin: str) -> None:
        """Record that the messages of this lane belong to this queue and go to this server."""
        known = self._names.get(lane)
        if known is not None and known[1] == origin:
            return
        self._forget(lane)
        if len(self._names) >= self._most:
            self._forget(next(iter(self._names)))
        name = self._names[lane] = (queue, origin)
        for key in (origin, name):
            self._by_key.setdefault(key, set()).add(lane)
        self._of_origin.pop(origin, None)
        self._judge(lane, name)

    def knows(self, key: Key) -> bool:
        """Return whether a lane of this store goes to this server, or to this queue there."""
        return key in self._by_key

    def of(self, origins: Collection[str]) -> frozenset[int]:
        """Return the known lanes of these servers."""
        if not origins:
            return frozenset()
        found = [self._lanes_of(origin) for origin in origins]
        return found[0] if len(found) == 1 else frozenset().union(*found)

    def excluded(self) -> frozenset[int]:
        """Return the lanes that are held, as of the last `Holds.advance`."""
        if self._excluded_now is None:
            self._excluded_now = frozenset(self._excluded)
        return self._excluded_now

    def _lanes_of(self, origin: str) -> frozenset[int]:
        lanes = self._of_origin.get(origin)
        if lanes is None:
            lanes = frozenset(self._by_key.get(origin, ()))
            if lanes:
                self._of_origin[origin] = lanes
        return lanes

    def _changed(self, key: Key) -> None:
        for lane in self._by_key.get(key, ()):
            self._judge(lane, self._names[lane])

    def _judge(self, lane: int, name: tuple[str, str]) -> None:
        is_closed = name[1] in self._closed or name in self._closed
        if is_closed != (lane in self._excluded):
            (self._excluded.add if is_closed else self._excluded.discard)(lane)
            self._excluded_now = None

    def _forget(self, lane: int) -> None:
        name = self._names.pop(lane, None)
        if name is None:
            return
        for key in (name[1], name):
            lanes = self._by_key[key]
            lanes.discard(lane)
            if not lanes:
                del self._by_key[key]
        self._of_origin.pop(name[1], None)
        if lane in self._excluded:
            self._excluded.discard(lane)
            self._excluded_now = None

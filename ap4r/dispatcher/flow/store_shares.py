"""Shares one concurrency between several stores: the room for a claim of each. It claims nothing and calls no store.

A single store may have all of it. If two have work, neither gets more than its share of the calls that end from then
on. A running claim counts with its whole size, so a store that does not answer could occupy the others' room:
beyond its share a claim is for half of the free room, and while claims fail, for a single message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit


class SharingStore(Protocol):
    """One store of a process, as sharing needs it."""

    @property
    def held(self) -> int:
        """The number of its messages that are held."""

    @property
    def wants_more(self) -> bool:
        """Whether it would claim more if it had room."""

    @property
    def failing(self) -> bool:
        """Whether its claims fail."""

    def room_freed(self) -> None:
        """Use room that may be free."""

    def wake(self) -> None:
        """Claim messages that may be called by now."""


@dataclass(slots=True, eq=False)
class _Member:
    store: SharingStore
    asked: int = 0  # messages of the running claim
    turn: int = 0  # of its last claim


class StoreShares:
    """Divides the calls that the limit allows."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self._limit = limit
        self._members: list[_Member] = []
        self._turns = 0

    def join(self, store: SharingStore) -> None:
        """Add a store."""
        self._members.append(_Member(store))

    @property
    def is_undivided(self) -> bool:
        """Whether one store may have everything, at any origin."""
        return len(self._members) == 1 and self._limit.tightest() == self._limit.concurrency

    def room(self, store: SharingStore, now: float) -> int:
        """Return how many messages this store may claim now."""
        if len(self._members) == 1:
            return max(0, self._limit.room(now))
        member = self._member(store)
        free = self._limit.room(now) - sum(other.asked for other in self._members if other is not member)
        if free <= 0:
            return 0
        if store.failing:
            return 1
        whole = self._limit.in_flight + self._limit.room(now)
        wanting = [other for other in self._members if other is member or other.store.wants_more]
        if len(wanting) > 1:
            return max(0, min(free, self._share(whole, wanting, member) - store.held))
        return min(free, max(whole // len(self._members) - store.held, (free + 1) // 2))

    def enough(self) -> int:
        """Return the room that is worth a claim at once, without waiting for more."""
        return max(1, self._limit.tightest() // (4 * len(self._members)))

    def claim_begins(self, store: SharingStore, count: int) -> None:
        """Reserve room for a claim of so many messages."""
        self._turns += 1
        member = self._member(store)
        member.turn = self._turns
        member.asked = count

    def claim_ended(self, store: SharingStore) -> None:
        """Offer to the other stores what a claim left of its room."""
        member = self._member(store)
        member.asked = 0
        for other in self._in_turn():
            if other is not member:
                other.store.room_freed()

    def call_ended(self) -> None:
        """Offer the room of a call that ended to all stores in turn."""
        for member in self._in_turn():
            member.store.room_freed()

    def origin_released(self) -> None:
        """Wake all stores, because an origin may be called again."""
        for member in self._in_turn():
            member.store.wake()

    def _member(self, store: SharingStore) -> _Member:
        return next(member for member in self._members if member.store is store)

    def _share(self, whole: int, wanting: list[_Member], member: _Member) -> int:
        # The remainder of the division goes to the stores that have waited longest since their last claim.
        each, rest = divmod(whole, len(wanting))
        below = sorted((one for one in wanting if one.store.held + one.asked <= each), key=lambda one: one.turn)
        rest -= len(wanting) - len(below)
        return each + (member in below[: max(0, rest)])

    def _in_turn(self) -> list[_Member]:
        return self._members if len(self._members) == 1 else sorted(self._members, key=lambda one: one.turn)

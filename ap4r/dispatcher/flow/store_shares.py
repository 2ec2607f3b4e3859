"""How several stores share one concurrency: who may claim how much now. It claims nothing and asks no store.

One store alone may have all of it. Where two have work, neither gets more than its share of what ends from then on.
A claim under way counts with all that it asked for, so a store that does not answer could keep room from the others:
beyond its share a claim asks for half of what is free, and where claims fail, for a single message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit


@dataclass(slots=True, eq=False, kw_only=True)
class StorePart:
    """One store's side.

    :param held: how many of its messages are being called.
    :param hungry: whether it would claim more if it had room.
    :param ill: whether its claims fail.
    :param freed: told that there may be room.
    :param released: told that a target may be called again.
    """

    held: Callable[[], int]
    hungry: Callable[[], bool]
    ill: Callable[[], bool]
    freed: Callable[[], None]
    released: Callable[[], None]
    asked: int = 0
    turn: int = 0


class StoreShares:
    """Divides what the limit allows."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self._limit = limit
        self._parts: list[StorePart] = []
        self._turns = 0

    def join(self, part: StorePart) -> None:
        """Count a store in."""
        self._parts.append(part)

    @property
    def is_undivided(self) -> bool:
        """Whether one store may have it all, at any origin."""
        return len(self._parts) == 1 and self._limit.tightest() == self._limit.concurrency

    def room(self, part: StorePart, now: float) -> int:
        """Tell how many messages this store may claim now."""
        free = self._limit.room(now) - sum(other.asked for other in self._parts if other is not part)
        if free <= 0 or len(self._parts) == 1:
            return max(0, free)
        if part.ill():
            return 1
        whole = self._limit.in_flight + self._limit.room(now)
        wanting = [other for other in self._parts if other is part or other.hungry()]
        if len(wanting) > 1:
            return max(0, min(free, self._share(whole, wanting, part) - part.held()))
        return min(free, max(whole // len(self._parts) - part.held(), (free + 1) // 2))

    def enough(self) -> int:
        """Tell how much room is worth a claim at once, without waiting for more."""
        return max(1, self._limit.tightest() // (4 * len(self._parts)))

    def ask(self, part: StorePart, count: int) -> None:
        """Note that a claim of so many begins."""
        self._turns += 1
        part.turn = self._turns
        part.asked = count

    def answered(self, part: StorePart) -> None:
        """Note that the claim has ended; what it left of the room is the others'."""
        part.asked = 0
        for other in self._in_turn():
            if other is not part:
                other.freed()

    def freed(self) -> None:
        """Tell all that a call ended."""
        for part in self._in_turn():
            part.freed()

    def released(self) -> None:
        """Tell all that a target may be called again."""
        for part in self._in_turn():
            part.released()

    def _share(self, whole: int, wanting: list[StorePart], part: StorePart) -> int:
        # What cannot be divided goes to those who have waited longest since their last claim.
        each, rest = divmod(whole, len(wanting))
        below = sorted((one for one in wanting if one.held() + one.asked <= each), key=lambda one: one.turn)
        rest -= len(wanting) - len(below)
        return each + (part in below[: max(0, rest)])

    def _in_turn(self) -> list[StorePart]:
        return self._parts if len(self._parts) == 1 else sorted(self._parts, key=lambda one: one.turn)

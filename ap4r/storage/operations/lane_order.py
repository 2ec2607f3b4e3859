"""The lanes that a claim may take from, sorted by number: kept as long as nothing about them changes.

There may be 100,000, and a claim uses a few of them: sorting them for each claim would take longer than the claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class LaneOrder(NamedTuple):
    """Lanes of one kind. `free` are those that are not held, sorted; `known` all of them."""

    free: Sequence[int]
    known: frozenset[int]


class LaneOrders:
    """Divides lanes into those that come first and those that yield to them. Caches its last answer."""

    def __init__(self) -> None:
        self._asked: tuple[Sequence[int], frozenset[int], frozenset[int]] | None = None
        self._answer = (LaneOrder((), frozenset()), LaneOrder((), frozenset()))

    def of(self, known: Sequence[int], held: frozenset[int], yielding: frozenset[int]) -> tuple[LaneOrder, LaneOrder]:
        """Return the lanes that come first, and those that yield.

        :param known: all lanes, sorted; the same object as long as it has the same content.
        """
        asked = self._asked
        if asked is None or asked[0] is not known or asked[1] != held or asked[2] != yielding:
            last = [lane for lane in known if lane in yielding] if yielding else []
            first = [lane for lane in known if lane not in yielding] if last else known
            self._answer = (_ordered(first, held), _ordered(last, held))
            self._asked = (known, held, yielding)
        return self._answer


def _ordered(lanes: Sequence[int], held: frozenset[int]) -> LaneOrder:
    return LaneOrder([lane for lane in lanes if lane not in held] if held else lanes, frozenset(lanes))

"""The policies that choose one of several servers. Pure functions: facts and random numbers are arguments.

Each respects weights: of two idle servers, one of weight 2 gets two calls for each call of one of weight 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ap4r.settings.upstreams import LEAST_OUTSTANDING, RANDOM_TWO, ROUND_ROBIN

#: Returns a number from 0 up to 1.
Random = Callable[[], float]


@dataclass(slots=True)
class Candidate:
    """The facts about a server that may be chosen. `credit` is the part of its turns that it has not had yet."""

    url: str
    weight: float = 1.0
    outstanding: int = 0
    credit: float = 0.0

    @property
    def load(self) -> float:
        """Calls in flight, divided by the weight."""
        return self.outstanding / self.weight


def round_robin(candidates: Sequence[Candidate], random: Random) -> Candidate:
    """Choose each server in turn, as often as its weight says, evenly distributed.

    The part of its turns that a server has not had is kept in `credit`, so its share is right even over a few turns.
    """
    whole = 0.0
    for candidate in candidates:
        candidate.credit += candidate.weight
        whole += candidate.weight
    chosen = max(candidates, key=_credit)
    chosen.credit -= whole
    return chosen


def least_outstanding(candidates: Sequence[Candidate], random: Random) -> Candidate:
    """Choose the server with the fewest calls in flight by its weight; among equals, in turn.

    A slow server's calls stay in flight longer, so it gets fewer of them, without any measurement of its speed.
    """
    least = min(candidate.outstanding / candidate.weight for candidate in candidates)
    idlest = [candidate for candidate in candidates if candidate.outstanding / candidate.weight <= least]
    return idlest[0] if len(idlest) == 1 else round_robin(idlest, random)


def random_two(candidates: Sequence[Candidate], random: Random) -> Candidate:
    """Draw two servers by their weights, and choose the one with fewer calls in flight.

    Several dispatchers that do not share state do not all choose the same server.
    """
    if len(candidates) == 1:
        return candidates[0]
    first = _draw(candidates, random)
    second = _draw([candidate for candidate in candidates if candidate is not first], random)
    return second if second.load < first.load else first


POLICIES: dict[str, Callable[[Sequence[Candidate], Random], Candidate]] = {
    LEAST_OUTSTANDING: least_outstanding,
    ROUND_ROBIN: round_robin,
    RANDOM_TWO: random_two,
}


def _credit(candidate: Candidate) -> float:
    return candidate.credit


def _draw(candidates: Sequence[Candidate], random: Random) -> Candidate:
    sums = list(accumulate(candidate.weight for candidate in candidates))
    point = random() * sums[-1]
    return next((one for one, upto in zip(candidates, sums, strict=True) if point < upto), candidates[-1])

"""The policies by which one of several servers is chosen. Pure functions: facts and chance are arguments.

Each respects weights: of two idle servers, one of weight 2 gets two calls where one of weight 1 gets one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ap4r.settings.upstreams import LEAST_OUTSTANDING, RANDOM_TWO, ROUND_ROBIN

#: Gives a number from 0 up to 1.
Random = Callable[[], float]


@dataclass(slots=True)
class Candidate:
    """What is known of a server that may be chosen. `credit` is what its turns have not given it yet."""

    url: str
    weight: float = 1.0
    outstanding: int = 0
    credit: float = 0.0

    @property
    def load(self) -> float:
        """Calls in flight, measured by the weight."""
        return self.outstanding / self.weight


def round_robin(candidates: Sequence[Candidate], random: Random) -> Candidate:
    """Give each its turn, as often as its weight says, and spread evenly.

    What a server is owed is kept in `credit`, so that its share is right over a few turns, not only over many.
    """
    whole = 0.0
    for candidate in candidates:
        candidate.credit += candidate.weight
        whole += candidate.weight
    chosen = max(candidates, key=_credit)
    chosen.credit -= whole
    return chosen


def least_outstanding(candidates: Sequence[Candidate], random: Random) -> Candidate:
    """Give the server with the fewest calls in flight by its weight; among equals, in turn.

    A slow server's calls stay in flight longer, so it gets fewer without anybody measuring how slow it is.
    """
    least = min(candidate.outstanding / candidate.weight for candidate in candidates)
    idlest = [candidate for candidate in candidates if candidate.outstanding / candidate.weight <= least]
    return idlest[0] if len(idlest) == 1 else round_robin(idlest, random)


def random_two(candidates: Sequence[Candidate], random: Random) -> Candidate:
    """Draw two by their weights, and give the one with fewer calls in flight.

    Several dispatchers that know nothing of each other do not all rush to the same server.
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

"""balance: three ways to choose one of several servers."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from ap4r.dispatcher.upstreams.balance import POLICIES, Candidate, least_outstanding, random_two, round_robin


@pytest.mark.parametrize("balance", POLICIES)
def test_weights_are_respected_while_nothing_is_in_flight(balance):
    """A server of weight 2 gets twice the calls of one of weight 1, whatever the policy."""
    candidates = [Candidate("a", 2.0), Candidate("b", 1.0), Candidate("c", 1.0)]
    random = Random(2).random
    if balance == "random_two":
        # It draws two of the three, so the weights tell whom it draws first.
        candidates = [Candidate("a", 2.0), Candidate("b", 1.0)]
    chosen = Counter(POLICIES[balance](candidates, random).url for _ in range(4_000))
    total = sum(candidate.weight for candidate in candidates)
    for candidate in candidates:
        assert chosen[candidate.url] == pytest.approx(4_000 * candidate.weight / total, rel=0.1)


def test_turns_are_spread_evenly():
    """A heavy server does not get its turns in a row."""
    candidates = [Candidate("a", 2.0), Candidate("b", 1.0), Candidate("c", 1.0)]
    assert "".join(round_robin(candidates, lambda: 0.5).url for _ in range(8)) == "abcaabca"


def test_the_fewest_in_flight_by_weight():
    """Three calls on a server of weight 4 are fewer than one on a server of weight 1."""
    candidates = [Candidate("a", 1.0, 1), Candidate("b", 4.0, 3), Candidate("c", 1.0, 2)]
    assert least_outstanding(candidates, lambda: 0.5).url == "b"


def test_of_two_drawn_the_idler_one():
    """The busiest server is chosen only when there is no other."""
    candidates = [Candidate("a", 1.0, 0), Candidate("b", 1.0, 1), Candidate("c", 1.0, 9)]
    random = Random(3).random
    chosen = Counter(random_two(candidates, random).url for _ in range(1_000))
    assert chosen["c"] == 0
    assert chosen["a"] > chosen["b"] > 0
    assert random_two(candidates[2:], lambda: 0.5).url == "c"

"""share: how much each of several stores may claim."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.store_shares import StorePart, StoreShares


class Side:
    """A store that has work without end, and calls that last until the test ends them."""

    def __init__(self, share: StoreShares, limit: ConcurrencyLimit, *, hungry: bool = True) -> None:
        self.share, self.limit = share, limit
        self.held, self.hungry, self.ill, self.told = 0, hungry, False, []
        self.part = StorePart(
            held=lambda: self.held, hungry=lambda: self.hungry, ill=lambda: self.ill,
            freed=lambda: self.told.append("freed"), released=lambda: self.told.append("released"),
        )  # fmt: skip
        share.join(self.part)

    @property
    def room(self) -> int:
        return self.share.room(self.part, 0.0)

    def claim(self, most: int = 1_000) -> int:
        """Claim what there is room for."""
        count = min(self.room, most)
        if not count:
            return 0
        self.share.ask(self.part, count)
        for _ in range(count):
            self.limit.admit("app", "q", 0.0)
        self.held += count
        self.share.answered(self.part)
        return count

    def end(self, count: int) -> None:
        """End calls."""
        for _ in range(count):
            self.limit.ended("app", 0.0)
        self.held -= count


def sides(concurrency: int, count: int, *, hungry: bool = True, caps: dict[str, int] | None = None) -> list[Side]:
    limit = ConcurrencyLimit(concurrency, caps)
    share = StoreShares(limit)
    return [Side(share, limit, hungry=hungry) for _ in range(count)]


def test_one_store_has_all_of_it():
    """Nothing is kept free for others where there are none, also when its claims fail."""
    [one] = sides(64, 1)
    assert one.room == 64
    one.ill = True
    assert one.room == 64
    assert one.claim(60) == 60
    assert one.room == 4


def test_a_store_alone_with_work_comes_to_have_all():
    """The others' shares are not left lying idle."""
    busy, _, _ = sides(64, 3)
    for other in busy.share._parts[1:]:
        other.hungry = lambda: False
    claims = []
    while busy.room:
        claims.append(busy.claim())
    assert busy.held == 64
    assert len(claims) <= 8


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("concurrency", [1, 2, 3, 7, 64])
def test_stores_with_work_come_to_the_same(concurrency, count):
    """However one began, in the long run each gets as many calls as another; nearly, where they outnumber the calls."""
    every = sides(concurrency, count)
    got = [0] * count
    every[0].hungry = True
    got[0] += every[0].claim()
    for _ in range(60 * count):
        for number, side in enumerate(every):
            got[number] += side.claim()
        for side in every:
            side.end(min(1, side.held))
    if concurrency >= count:
        assert max(got) - min(got) <= concurrency + 1
    assert min(got) >= max(got) // 2 - concurrency


def test_never_more_than_the_limit_even_while_claims_are_under_way():
    """What a claim asked for is not given to another, or both might bring it."""
    one, two = sides(10, 2)
    one.share.ask(one.part, one.room)
    asked = one.part.asked
    two.share.ask(two.part, two.room)
    assert asked + two.part.asked <= 10
    assert two.part.asked >= 5


def test_a_claim_that_is_not_answered_leaves_room():
    """A store that keeps its claim waiting keeps no more than its share of the room."""
    slow, other = sides(64, 2, hungry=False)
    slow.share.ask(slow.part, slow.room)
    while other.room:
        other.claim()
    assert other.held >= 32


def test_a_store_whose_claims_fail_asks_for_one():
    """It is tried with a single message, and its hunger takes no share from the others."""
    ill, well = sides(64, 2)
    ill.ill, ill.hungry = True, False
    assert ill.room == 1
    ill.share.ask(ill.part, 1)
    while well.room:
        well.claim()
    assert well.held == 63


def test_the_end_of_a_claim_reaches_the_others():
    """What it asked for and did not bring is room for them."""
    one, two = sides(4, 2)
    one.share.ask(one.part, 4)
    one.share.answered(one.part)
    assert (one.told, two.told) == ([], ["freed"])


def test_ends_and_releases_reach_all_the_longest_unserved_first():
    """The store that claimed last is notified last."""
    one, two = sides(4, 2)
    told = []
    one.part.freed = lambda: told.append("one")
    two.part.freed = lambda: told.append("two")
    one.claim(1)
    told.clear()
    one.share.freed()
    assert told == ["two", "one"]
    one.share.released()
    assert "released" in one.told and "released" in two.told


def test_an_origins_own_limit_is_shared_too():
    """Where the application in this process is full, its next free thread goes to the store with fewer calls."""
    one, two = sides(64, 2, caps={"app": 4})
    two.hungry = False
    while not one.limit.full(0.0):
        one.claim()
    two.hungry = True
    one.end(1)
    assert (one.room, two.room) == (0, 1)

"""share: how much each of several stores may claim."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.store_shares import StoreShares


class Side:
    """A store that has work without end, and calls that last until the test ends them."""

    def __init__(self, share: StoreShares, limit: ConcurrencyLimit, *, wants_more: bool = True) -> None:
        self.share, self.limit = share, limit
        self.held, self.wants_more, self.failing, self.told = 0, wants_more, False, []
        share.join(self)

    def room_freed(self) -> None:
        self.told.append("freed")

    def wake(self) -> None:
        self.told.append("released")

    @property
    def room(self) -> int:
        return self.share.room(self, 0.0)

    def claim(self, most: int = 1_000) -> int:
        """Claim what there is room for."""
        count = min(self.room, most)
        if not count:
            return 0
        self.share.claim_begins(self, count)
        for _ in range(count):
            self.limit.admit("app", "q", 0.0)
        self.held += count
        self.share.claim_ended(self)
        return count

    def end(self, count: int) -> None:
        """End calls."""
        for _ in range(count):
            self.limit.ended("app", 0.0)
        self.held -= count


def sides(concurrency: int, count: int, *, wants_more: bool = True, caps: dict[str, int] | None = None) -> list[Side]:
    limit = ConcurrencyLimit(concurrency, caps)
    share = StoreShares(limit)
    return [Side(share, limit, wants_more=wants_more) for _ in range(count)]


def test_one_store_has_all_of_it():
    """Nothing is kept free for others where there are none, also when its claims fail."""
    [one] = sides(64, 1)
    assert one.room == 64
    one.failing = True
    assert one.room == 64
    assert one.claim(60) == 60
    assert one.room == 4


def test_a_store_alone_with_work_comes_to_have_all():
    """The others' shares are not left lying idle."""
    busy, *others = sides(64, 3)
    for other in others:
        other.wants_more = False
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
    every[0].wants_more = True
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
    first = one.room
    one.share.claim_begins(one, first)
    second = two.room
    assert first + second <= 10
    assert second >= 5


def test_a_claim_that_is_not_answered_leaves_room():
    """A store that keeps its claim waiting keeps no more than its share of the room."""
    slow, other = sides(64, 2, wants_more=False)
    slow.share.claim_begins(slow, slow.room)
    while other.room:
        other.claim()
    assert other.held >= 32


def test_a_store_whose_claims_fail_asks_for_one():
    """It is tried with a single message, and takes no share from the others."""
    failing, well = sides(64, 2)
    failing.failing, failing.wants_more = True, False
    assert failing.room == 1
    failing.share.claim_begins(failing, 1)
    while well.room:
        well.claim()
    assert well.held == 63


def test_the_end_of_a_claim_reaches_the_others():
    """What it asked for and did not bring is room for them."""
    one, two = sides(4, 2)
    one.share.claim_begins(one, 4)
    one.share.claim_ended(one)
    assert (one.told, two.told) == ([], ["freed"])


def test_ends_and_releases_reach_all_the_longest_unserved_first():
    """The store that claimed last is notified last."""
    one, two = sides(4, 2)
    order = []
    one.room_freed = lambda: order.append("one")
    two.room_freed = lambda: order.append("two")
    one.claim(1)
    order.clear()
    one.share.call_ended()
    assert order == ["two", "one"]
    one.share.origin_released()
    assert "released" in one.told and "released" in two.told


def test_an_origins_own_limit_is_shared_too():
    """Where the application in this process is full, its next free thread goes to the store with fewer calls."""
    one, two = sides(64, 2, caps={"app": 4})
    two.wants_more = False
    while not one.limit.full(0.0):
        one.claim()
    two.wants_more = True
    one.end(1)
    assert (one.room, two.room) == (0, 1)

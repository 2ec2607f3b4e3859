"""The order in which lanes are asked: parted once, and again only when something about them has changed."""

from __future__ import annotations

from ap4r.storage.operations.lane_order import LaneOrders

NONE: frozenset[int] = frozenset()


def test_those_that_are_held_are_not_free():
    """They are known all the same; the order is that of their numbers."""
    first, last = LaneOrders().of([1, 3, 5, 7], frozenset({3, 9}), NONE)
    assert (list(first.free), first.known) == ([1, 5, 7], {1, 3, 5, 7})
    assert (list(last.free), last.known) == ([], NONE)


def test_those_that_give_way_come_apart():
    """Each kind with its own free ones."""
    first, last = LaneOrders().of([1, 3, 5, 7], frozenset({3, 7}), frozenset({5, 7, 9}))
    assert (list(first.free), first.known) == ([1], {1, 3})
    assert (list(last.free), last.known) == ([5], {5, 7})


def test_the_same_question_is_answered_once():
    """A claim of many lanes does not sort them again while they are the same."""
    orders, known = LaneOrders(), list(range(100))
    answer = orders.of(known, frozenset({1}), frozenset({2}))
    assert orders.of(known, frozenset({1}), frozenset({2})) is answer
    assert orders.of(known, frozenset({1, 3}), frozenset({2})) is not answer
    assert orders.of(known, frozenset({1, 3}), NONE)[1].known == NONE
    assert list(orders.of([1, 2], NONE, NONE)[0].free) == [1, 2]

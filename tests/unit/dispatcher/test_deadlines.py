"""deadlines: many over one timer; those that pass are called, those that are met cost nothing later."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from ap4r.dispatcher.http_client.timeouts import Deadlines


class Watch:
    """Deadlines on a fake clock, and what passed when."""

    def __init__(self):
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.passed = []

    def set(self, seconds, name):
        return self.deadlines.set(seconds, lambda: self.passed.append((name, self.clock.seconds())))


def test_each_passes_at_its_own_time():
    """In whatever order they were set, and however many share an instant."""
    watch = Watch()
    for seconds, name in [(3.0, "a"), (1.0, "b"), (2.0, "c"), (1.0, "d")]:
        watch.set(seconds, name)
    for _ in range(8):
        watch.clock.advance(0.5)
    assert watch.passed == [("b", 1.0), ("d", 1.0), ("c", 2.0), ("a", 3.0)]


def test_one_that_is_met_does_not_pass():
    """However often it is met, and whether it was the next or not."""
    watch = Watch()
    first, _, last = (watch.set(seconds, seconds) for seconds in (1.0, 2.0, 3.0))
    for deadline in (first, last, first):
        deadline.meet()
    watch.clock.advance(10.0)
    assert watch.passed == [(2.0, 10.0)]
    assert not first.is_open


def test_one_set_while_another_passes():
    """A deadline may set the next."""
    watch = Watch()
    watch.deadlines.set(1.0, lambda: watch.set(1.0, "next"))
    watch.clock.pump([0.5] * 4)
    assert watch.passed == [("next", 2.0)]


def test_those_that_were_met_are_forgotten():
    """Ten thousand calls that end in time leave neither timers nor memory, long before their deadlines."""
    watch = Watch()
    open_one = watch.set(30.0, "open")
    for _ in range(10_000):
        watch.set(30.0, "met").meet()
    assert len(watch.deadlines._heap) < 1_000
    assert len(watch.clock.getDelayedCalls()) == 1
    watch.clock.advance(30.0)
    assert watch.passed == [("open", 30.0)]
    assert not open_one.is_open


def test_one_that_raises_costs_no_other_its_end():
    """The error reaches the owner of the timer, and the others pass all the same."""
    watch = Watch()
    watch.deadlines.set(1.0, lambda: 1 / 0)
    watch.set(1.0, "other")
    with pytest.raises(ZeroDivisionError):
        watch.clock.advance(1.0)
    watch.clock.advance(0.0)
    assert watch.passed == [("other", 1.0)]


def test_close_leaves_no_timer_behind():
    """When all are met; what is open keeps its deadline, and a later one is watched again."""
    watch = Watch()
    watch.set(1.0, "met").meet()
    watch.deadlines.close()
    assert watch.clock.getDelayedCalls() == []
    watch.set(2.0, "open")
    watch.deadlines.close()
    watch.clock.advance(2.0)
    assert watch.passed == [("open", 2.0)]

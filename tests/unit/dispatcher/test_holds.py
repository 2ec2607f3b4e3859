"""holds: who gets no call for a while, how it ends, and that nothing of it stays."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.flow.holds import FORGET_SECONDS, LONGEST_HOLD_SECONDS, Holds, growing_wait
from ap4r.outcome.outcome import Failure, Reason

WHY = Failure(Reason.CONNECT_FAILED)


def held(**options) -> Holds:
    """Return holds of which `o` began at second 0."""
    holds = Holds()
    holds.hold("o", 0.0, 0.0, WHY, probe=False, **options)
    return holds


def closed(holds: Holds, now: float) -> set[object]:
    holds.advance(now)
    return holds.closed


@pytest.mark.parametrize(("times", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (50, 30), (5_000, 30)])
def test_waits_double_up_to_the_longest(times, seconds):
    """1, 2, 4 … 30 seconds, however often."""
    assert growing_wait(times, LONGEST_HOLD_SECONDS, 0.0) == seconds


def test_jitter_only_shortens():
    """A probe is made at least each 30 s."""
    assert growing_wait(9, LONGEST_HOLD_SECONDS, 0.999) == pytest.approx(22.5, abs=0.1)


def test_a_hold_is_closed_until_its_end_and_while_it_is_probed():
    """When it is over one call is made, and no second before that has ended."""
    holds = held()
    assert closed(holds, 0.5) == {"o"}
    assert holds.is_held("o", 0.5) is True
    assert closed(holds, 1.0) == set()
    assert holds.is_held("o", 1.0) is False
    holds.probe("o")
    assert closed(holds, 1.0) == {"o"}
    assert holds.is_held("o", 5.0) is True


def test_a_good_probe_releases():
    """After it there is no hold, and the next is a short one again."""
    holds = held()
    holds.probe("o")
    assert holds.release("o")
    assert not holds.release("o")
    assert (holds.is_held("o", 1.0), closed(holds, 1.0), len(holds)) == (None, set(), 0)
    assert holds.hold("o", 2.0, 0.0, WHY, probe=False) == 1.0


def test_a_bad_probe_doubles_the_hold_and_it_is_the_same_one():
    """Each probe that fails doubles the wait; since when it lasts is kept."""
    holds, now, waits = held(), 1.0, []
    for _ in range(7):
        holds.advance(now)
        holds.probe("o")
        waits.append(holds.hold("o", now, 0.0, WHY, probe=True))
        now += waits[-1]
    assert waits == [2, 4, 8, 16, 30, 30, 30]
    [(key, hold)] = holds.held()
    assert (key, hold.since, hold.until) == ("o", 0.0, now)


def test_calls_from_before_the_hold_do_not_lengthen_it():
    """A hundred calls that fail together are one failure."""
    holds = held()
    assert [holds.hold("o", 0.1, 0.0, WHY, probe=False) for _ in range(100)] == [None] * 100
    assert holds.next_end_at(0.1) == 1.0


@pytest.mark.parametrize(("asked", "seconds"), [(0.0, 1.0), (7.0, 7.0), (3_600.0, 30.0)])
def test_what_the_target_asked_for_is_obeyed_up_to_the_longest_hold(asked, seconds):
    """A Retry-After of an hour slows the message; the target is probed after 30 s."""
    assert held(asked_seconds=asked).next_end_at(0.0) == seconds


def test_another_call_may_ask_for_longer():
    """The longer wait is obeyed, and what was open already is closed again."""
    holds = held()
    holds.hold("o", 0.5, 0.0, WHY, probe=False, asked_seconds=10.0)
    assert closed(holds, 5.0) == {"o"}
    assert closed(holds, 10.5) == set()
    holds.hold("o", 10.6, 0.0, WHY, probe=False, asked_seconds=1.0)
    assert closed(holds, 11.0) == {"o"}
    assert closed(holds, 11.6) == set()


def test_a_probe_that_was_cut_off_proves_nothing():
    """The next call probes."""
    holds = held()
    holds.advance(1.0)
    holds.probe("o")
    holds.unproved("o")
    assert closed(holds, 1.0) == set()
    assert holds.is_held("o", 1.0) is False


def test_a_hold_may_be_cut_short():
    """The next call probes at once."""
    holds = held(asked_seconds=30.0)
    holds.cut_short("o", 2.0)
    assert closed(holds, 2.0) == set()
    assert holds.is_held("o", 2.0) is False


def test_the_next_end_is_in_the_future():
    """A hold that is over already is no reason to wake again and again."""
    holds = held()
    assert holds.next_end_at(0.5) == 1.0
    assert holds.next_end_at(1.0) is None


def test_observers_receive_each_change():
    """Closed, opened for a probe, closed by the probe, and gone."""
    holds, told = Holds(), []
    holds.watch(lambda key: told.append((key, key in holds.closed)))
    holds.hold("o", 0.0, 0.0, WHY, probe=False)
    holds.advance(1.0)
    holds.probe("o")
    holds.release("o")
    assert told == [("o", True), ("o", False), ("o", True), ("o", False)]


def test_what_nothing_probes_is_forgotten():
    """A host whose messages have expired leaves nothing behind."""
    holds = held()
    holds.advance(1.0 + FORGET_SECONDS - 0.1)
    assert len(holds) == 1
    holds.advance(1.0 + FORGET_SECONDS)
    assert len(holds) == 0
    assert (holds._ends, holds._forgets) == ([], [])


def test_what_is_still_probed_is_not_forgotten():
    """A hold that is renewed lasts."""
    holds, now = held(), 1.0
    for _ in range(20):
        holds.advance(now)
        holds.probe("o")
        now += holds.hold("o", now, 0.0, WHY, probe=True)
    holds.advance(now)
    assert len(holds) == 1
    assert len(holds._ends) + len(holds._forgets) < 10


def test_there_are_never_more_than_a_bound():
    """Hosts without number cost no memory without end: the one that ends first is forgotten."""
    holds = Holds(most=100)
    for number in range(1_000):
        holds.hold(f"http://h{number}", number / 1_000, 0.0, WHY, probe=False)
    assert len(holds) == 100
    assert len(holds.closed) <= 100
    assert holds.is_held("http://h999", 1.0) is True

"""limit: how many calls at once, and the holds of targets that refuse or ask for less."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.limit import LONGEST_HOLD_SECONDS, Admission, Limit, growing_wait


def held(**options) -> Limit:
    """Give a limit whose origin `o` failed at second 0."""
    limit = Limit(10)
    limit.admit("o", 0.0)
    limit.ended("o")
    limit.hold("o", 0.0, 0.0, probe=False, **options)
    return limit


def probe(limit: Limit, now: float) -> None:
    """Begin and end a probe."""
    assert limit.admit("o", now) is Admission.PROBE
    limit.ended("o")


def test_room_is_what_is_not_in_flight():
    """Calls in flight take room, and give it back when they end."""
    limit = Limit(3)
    for _ in range(2):
        assert limit.admit("o", 0.0) is Admission.CALL
    assert limit.room() == 1
    limit.ended("o")
    assert limit.room() == 2


def test_room_is_never_negative():
    """Fewer calls allowed than are in flight means no room, not less than none."""
    limit = Limit(5)
    for _ in range(5):
        limit.admit("o", 0.0)
    limit.concurrency = 2
    assert limit.room() == 0


@pytest.mark.parametrize(("times", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (50, 30), (5_000, 30)])
def test_waits_double_up_to_the_longest(times, seconds):
    """1, 2, 4 … 30 seconds, however often."""
    assert growing_wait(times, LONGEST_HOLD_SECONDS, 0.0) == seconds


def test_jitter_only_shortens():
    """A probe is made at least each 30 s."""
    assert growing_wait(9, LONGEST_HOLD_SECONDS, 0.999) == pytest.approx(22.5, abs=0.1)


def test_a_held_origin_gets_no_call():
    """During a hold nothing is called there, and calls elsewhere go on."""
    limit = held()
    assert limit.closed(0.5) == {"o"}
    assert limit.admit("o", 0.5) is Admission.HELD
    assert limit.admit("other", 0.5) is Admission.CALL


def test_one_call_probes_after_a_hold():
    """When the hold is over one call is made, and no second before it has ended."""
    limit = held()
    assert limit.closed(1.0) == frozenset()
    assert limit.admit("o", 1.0) is Admission.PROBE
    assert limit.admit("o", 1.0) is Admission.HELD
    assert limit.closed(1.0) == {"o"}


def test_a_good_probe_releases():
    """After it, calls are made as before, and the next hold is a short one again."""
    limit = held()
    probe(limit, 1.0)
    assert limit.release("o")
    assert limit.admit("o", 1.0) is Admission.CALL
    assert limit.hold("o", 2.0, 0.0, probe=False) == 1.0


def test_a_bad_probe_doubles_the_hold():
    """Each probe that fails doubles the wait."""
    limit = held()
    now, waits = 1.0, []
    for _ in range(7):
        probe(limit, now)
        waits.append(limit.hold("o", now, 0.0, probe=True))
        now += waits[-1]
    assert waits == [2, 4, 8, 16, 30, 30, 30]


def test_calls_from_before_the_hold_do_not_lengthen_it():
    """A hundred calls that fail together are one failure."""
    limit = held()
    assert [limit.hold("o", 0.1, 0.0, probe=False) for _ in range(100)] == [None] * 100
    assert limit.next_probe_at(0.1) == 1.0


@pytest.mark.parametrize(("asked", "seconds"), [(0.0, 1.0), (7.0, 7.0), (3_600.0, 30.0)])
def test_what_the_target_asked_for_is_obeyed_up_to_the_longest_hold(asked, seconds):
    """A Retry-After of an hour slows the message; the target is probed after 30 s."""
    assert held(asked_seconds=asked).next_probe_at(0.0) == seconds


def test_a_probe_that_was_cut_off_proves_nothing():
    """The next call probes."""
    limit = held()
    probe(limit, 1.0)
    limit.unproved("o")
    assert limit.admit("o", 1.0) is Admission.PROBE


def test_next_probe_is_in_the_future():
    """A hold that is over already is no reason to wake again and again."""
    limit = held()
    assert limit.next_probe_at(0.5) == 1.0
    assert limit.next_probe_at(1.0) is None


def test_held_tells_the_rest():
    """The figures say which origins are held and for how long still."""
    assert held().held(0.25) == {"o": 0.75}


class TestCaps:
    def test_an_origin_never_has_more_than_its_cap(self):
        """An application of few threads is not given more calls than those."""
        limit = Limit(10, {"app": 2})
        assert [limit.admit("app", 0.0) for _ in range(3)] == [Admission.CALL, Admission.CALL, Admission.HELD]
        assert limit.full()
        assert limit.closed(0.0) == {"app"}

    def test_no_more_is_claimed_than_it_may_have(self):
        """While it has room, claims are no larger than that room, whatever they bring."""
        limit = Limit(10, {"app": 3})
        assert limit.room() == 3
        limit.admit("app", 0.0)
        assert limit.room() == 2

    def test_a_full_origin_leaves_the_others_their_room(self):
        """When it is full it is left out of claims, and these are as large as the rest allows."""
        limit = Limit(10, {"app": 3})
        for _ in range(3):
            limit.admit("app", 0.0)
        assert limit.room() == 7

    def test_a_full_origin_is_not_probed(self):
        """A probe too needs a thread."""
        limit = Limit(10, {"o": 1})
        limit.admit("o", 0.0)
        limit.hold("o", 0.0, 0.0, probe=False)
        assert limit.admit("o", 5.0) is Admission.HELD
        limit.ended("o")
        assert limit.admit("o", 5.0) is Admission.PROBE

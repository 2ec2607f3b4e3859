"""schedule: when to claim next."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.store_worker.claim_timing import BELL_PAUSE_SECONDS, LADDER_SECONDS, ClaimTiming


def claim(schedule, now, count=0, *, more=False, next_due=None):
    """Return a claim that takes no time."""
    schedule.claiming(now)
    schedule.claimed(now, count, more, next_due)


def test_nothing_happens_by_itself():
    """An empty store is not claimed from again until something happens."""
    schedule = ClaimTiming()
    claim(schedule, 0.0)
    assert schedule.next_at(0.0, None) is None


def test_a_bell_is_followed_at_once():
    """The first bell waits for nothing."""
    assert ClaimTiming().ring(3.0) == 3.0


def test_bells_are_followed_at_most_each_five_milliseconds():
    """The next one waits until the pause is over."""
    schedule = ClaimTiming()
    schedule.ring(3.0)
    claim(schedule, 3.0, 1, more=True)
    assert schedule.ring(3.001) == pytest.approx(3.0 + BELL_PAUSE_SECONDS)
    assert schedule.ring(3.2) == 3.2


@pytest.mark.parametrize("count", [0, 3])
def test_after_a_bell_the_store_is_looked_at_again(count):
    """When a claim after a bell has left nothing more: after 10, 50 and 250 ms, and then no more."""
    schedule = ClaimTiming()
    schedule.ring(0.0)
    claim(schedule, 0.0, count)
    seen = []
    while (at := schedule.next_at(0.0, None)) is not None:
        seen.append(at)
        claim(schedule, at)
    assert seen == pytest.approx(LADDER_SECONDS)


def test_a_backlog_is_worked_off_before_the_ladder_begins():
    """The ladder counts from the claim that found the end."""
    schedule = ClaimTiming()
    schedule.ring(0.0)
    claim(schedule, 0.0, 10, more=True)
    assert schedule.next_at(0.0, None) is None
    claim(schedule, 2.0, 1)
    assert schedule.next_at(2.0, None) == pytest.approx(2.010)


def test_a_new_bell_restarts_the_ladder():
    """Its own commit may be the late one."""
    schedule = ClaimTiming()
    schedule.ring(0.0)
    claim(schedule, 0.0)
    claim(schedule, 0.010)
    schedule.ring(0.020)
    claim(schedule, 0.020)
    assert schedule.next_at(0.020, None) == pytest.approx(0.030)


def test_due_times_are_kept():
    """A message that falls due is claimed within a few milliseconds of its time, not before."""
    schedule = ClaimTiming()
    claim(schedule, 0.0, 1, next_due=7.5)
    assert 7.5 < schedule.next_at(0.0, None) < 7.51


def test_the_nearest_reason_wins():
    """A due time, the end of a hold, the ladder: whichever is first."""
    schedule = ClaimTiming()
    claim(schedule, 0.0, 1, next_due=7.5)
    assert schedule.next_at(0.0, 3.0) == 3.0
    assert schedule.next_at(0.0, 9.0) < 8.0


def test_what_seems_due_and_is_not_given_is_asked_for_less_and_less():
    """A store may call due what it holds back from us; that must not become a storm."""
    schedule = ClaimTiming()
    now, claims = 0.0, 0
    while now < 10.0:
        claim(schedule, now, next_due=0.0)
        claims += 1
        now = schedule.next_at(now, None)
    assert claims < 25


def test_no_room_is_hunger():
    """A claim that could not be made is made when there is room."""
    schedule = ClaimTiming()
    schedule.no_room()
    assert schedule.wants_more
    claim(schedule, 0.0, 5)
    assert not schedule.wants_more


def test_claims_that_find_nothing_do_not_delay_what_is_due_later():
    """A message due in 0.3 s is claimed then, however many bells found nothing before."""
    schedule = ClaimTiming()
    for _ in range(8):
        claim(schedule, 0.0, next_due=0.3)
    assert schedule.next_at(0.0, None) == pytest.approx(0.3, abs=0.05)

"""limit: how many calls at once, caps, and who gives way; holds and cuts have files of their own."""

from __future__ import annotations

from ap4r.dispatcher.flow.concurrency import STUCK_SECONDS, CallAdmission, ConcurrencyLimit
from ap4r.outcome.outcome import Failure, Reason

WHY = Failure(Reason.CONNECT_FAILED)


def admit(limit: ConcurrencyLimit, origin: str = "o", now: float = 0.0, queue: str = "q") -> CallAdmission:
    return limit.admit(origin, queue, now)


def fill(limit: ConcurrencyLimit, origin: str, calls: int, now: float = 0.0) -> None:
    """Begin so many calls to an origin."""
    for _ in range(calls):
        assert admit(limit, origin, now) is CallAdmission.CALL


def test_room_is_what_is_not_in_flight():
    """Calls in flight take room, and return it back when they end."""
    limit = ConcurrencyLimit(3)
    fill(limit, "o", 2)
    assert limit.room(0.0) == 1
    limit.ended("o", 0.0)
    assert limit.room(0.0) == 2


def test_room_is_never_negative():
    """Fewer calls allowed than are in flight means no room, not less than none."""
    limit = ConcurrencyLimit(5)
    fill(limit, "o", 5)
    limit.concurrency = 2
    assert limit.room(0.0) == 0


def test_a_held_server_gets_no_call_and_then_a_probe():
    """During a hold nothing is called there, and calls elsewhere go on; then one call probes, whatever its queue."""
    limit = ConcurrencyLimit(10)
    limit.holds.hold("o", 0.0, 0.0, WHY, probe=False)
    assert admit(limit, now=0.5) is CallAdmission.HELD
    assert admit(limit, "other", 0.5) is CallAdmission.CALL
    assert admit(limit, now=1.0) is CallAdmission.PROBE
    assert admit(limit, now=1.0, queue="r") is CallAdmission.HELD


def test_a_held_queue_leaves_the_others_of_its_server_alone():
    """An answer speaks for its queue at that server, and for that queue elsewhere it says nothing."""
    limit = ConcurrencyLimit(10)
    limit.holds.hold(("q", "o"), 0.0, 0.0, WHY, probe=False)
    assert admit(limit, now=0.5) is CallAdmission.HELD
    assert admit(limit, now=0.5, queue="r") is CallAdmission.CALL
    assert admit(limit, "other", 0.5) is CallAdmission.CALL
    assert admit(limit, now=1.0) is CallAdmission.PROBE_QUEUE
    assert admit(limit, now=1.0) is CallAdmission.HELD


def test_one_call_may_probe_both():
    """A server that is back, and a queue that was held there before."""
    limit = ConcurrencyLimit(10)
    limit.holds.hold("o", 0.0, 0.0, WHY, probe=False)
    limit.holds.hold(("q", "o"), 0.0, 0.0, WHY, probe=False)
    assert admit(limit, now=1.0) is CallAdmission.PROBE_BOTH


class TestCaps:
    def test_an_origin_never_has_more_than_its_cap(self):
        """An application of few threads is not given more calls than those."""
        limit = ConcurrencyLimit(10, {"app": 2})
        assert [admit(limit, "app") for _ in range(3)] == [CallAdmission.CALL, CallAdmission.CALL, CallAdmission.HELD]
        assert limit.full(0.0)
        assert limit.full_origins(0.0) == ["app"]

    def test_no_more_is_claimed_than_it_may_have(self):
        """While it has room, claims are no larger than that room, whatever they bring."""
        limit = ConcurrencyLimit(10, {"app": 3})
        assert limit.room(0.0) == 3
        fill(limit, "app", 1)
        assert limit.room(0.0) == 2

    def test_a_full_origin_leaves_the_others_their_room(self):
        """When it is full it is left out of claims, and these are as large as the rest allows."""
        limit = ConcurrencyLimit(10, {"app": 3})
        fill(limit, "app", 3)
        assert limit.room(0.0) == 7

    def test_a_full_origin_is_not_probed(self):
        """A probe too needs a thread."""
        limit = ConcurrencyLimit(10, {"o": 1})
        fill(limit, "o", 1)
        limit.holds.hold("o", 0.0, 0.0, WHY, probe=False)
        assert admit(limit, now=5.0) is CallAdmission.HELD
        limit.ended("o", 5.0)
        assert admit(limit, now=5.0) is CallAdmission.PROBE


class TestShares:
    def test_who_has_a_quarter_gives_way(self):
        """From then on its lanes are claimed from after all others; below it no more."""
        limit = ConcurrencyLimit(8)
        fill(limit, "slow", 1)
        assert limit.yielding(7, 0.0).origins == ()
        fill(limit, "slow", 1)
        assert limit.yielding(6, 0.0) == (("slow",), 6)
        limit.ended("slow", 0.0)
        assert limit.yielding(7, 0.0).origins == ()

    def test_who_is_alone_may_have_all(self):
        """A share is no limit while nothing else is due."""
        limit = ConcurrencyLimit(8)
        fill(limit, "slow", 8)
        assert limit.in_flight == 8

    def test_where_all_calls_are_taken_and_none_ends_others_get_a_share_more(self):
        """A server that never answers makes no other wait; itself it gets no more, the others no more than that."""
        limit = ConcurrencyLimit(8)
        fill(limit, "silent", 8)
        limit.ended("silent", 1.0)
        fill(limit, "silent", 1, 1.0)
        assert limit.room(1.0) == 0
        assert limit.stuck_at(1.0) == 1.0 + STUCK_SECONDS
        now = 1.0 + STUCK_SECONDS
        assert (limit.room(now), limit.yielding(2, now)) == (2, (("silent",), 0))
        assert limit.stuck_at(now) is None
        assert not limit.may_begin_beside("silent")
        assert limit.may_begin_beside("other")
        fill(limit, "other", 1)
        fill(limit, "another", 1)
        assert limit.room(now) == 0
        assert not limit.may_begin_beside("third")

    def test_where_calls_end_nothing_goes_beyond_the_limit(self):
        """What is busy is not stuck: others get what becomes free, before those that have their share."""
        limit = ConcurrencyLimit(8)
        fill(limit, "busy", 8)
        limit.ended("busy", 5.0)
        assert (limit.room(5.0), limit.yielding(1, 5.0)) == (1, (("busy",), 1))
        fill(limit, "other", 1, 5.0)
        assert limit.room(5.05) == 0

    def test_a_small_number_is_kept_to(self):
        """Three calls at once are three."""
        limit = ConcurrencyLimit(3)
        fill(limit, "silent", 3)
        assert limit.room(100.0) == 0
        assert limit.stuck_at(100.0) is None

    def test_another_number_of_calls_makes_other_shares(self):
        """Also for those that are in flight."""
        limit = ConcurrencyLimit(8)
        fill(limit, "o", 4)
        limit.concurrency = 64
        assert limit.yielding(9, 0.0).origins == ()
        limit.concurrency = 4
        assert limit.yielding(9, 0.0).origins == ("o",)


class TestCuts:
    def test_a_server_that_was_cut_gets_fewer_calls_and_is_not_closed(self):
        """Three queues that ask for less within ten seconds halve its calls; they grow back by themselves."""
        limit = ConcurrencyLimit(64)
        fill(limit, "o", 40)
        assert [limit.cuts.asked_less("o", queue, 40, 0.0) for queue in "abc"] == [None, None, 20]
        assert admit(limit, "o") is CallAdmission.HELD
        assert limit.full_origins(0.0) == ["o"]
        assert admit(limit, "other") is CallAdmission.CALL
        for _ in range(25):
            limit.ended("o", 1.0)
        assert (limit.full(1.0), limit.room(1.0)) == (False, 48)
        assert limit.yielding(48, 1.0) == (("o",), 6)
        assert admit(limit, "o", 1.0) is CallAdmission.CALL
        assert limit.cuts.origins(64, 20.0) == {}

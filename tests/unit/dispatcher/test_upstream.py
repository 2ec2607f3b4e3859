"""upstream: servers that are called, left out, and come back little by little."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from ap4r.dispatcher.upstreams.upstream import BAD_IN_A_ROW, MOST_QUEUES, RETURN_SECONDS, TRICKLE, Upstream

A, B, C = "http://a", "http://b", "http://c"


def test_servers_are_used_in_turn():
    """Each has the same share."""
    upstream = Upstream("app", [A, B, C])
    assert [upstream.choose(0.0) for _ in range(6)] == [A, B, C, A, B, C]


def test_a_single_server_is_always_it():
    """Nothing to choose."""
    assert [Upstream("app", [A]).choose(0.0) for _ in range(3)] == [A, A, A]


def test_a_server_that_refused_is_left_out_for_a_while():
    """1 s at first; then it gets a trickle, and its whole share only after a while."""
    upstream = Upstream("app", [A, B])
    assert upstream.refused(A, 0.0, 0.0) == 1.0
    assert [upstream.choose(0.5) for _ in range(3)] == [B, B, B]
    assert upstream.share(A, 0.5) == 0.0
    assert upstream.share(A, 1.0) == pytest.approx(TRICKLE)
    assert TRICKLE < upstream.share(A, 1.0 + RETURN_SECONDS / 2) < 1.0
    assert upstream.share(A, 1.0 + RETURN_SECONDS) == 1.0


@pytest.mark.parametrize("balance", ["least_outstanding", "round_robin", "random_two"])
def test_a_share_grows_from_a_trickle_to_the_full_one(balance):
    """Whatever the policy: about nothing at first, as much as the other in the end."""
    upstream, random = Upstream("app", [A, B], balance=balance), Random(1).random
    upstream.refused(A, -1.0, 0.0)
    shares = []
    for second in range(0, 14, 2):
        chosen = Counter(upstream.choose(float(second), random=random) for _ in range(1_000))
        shares.append(chosen[A])
    assert shares[0] < 60
    assert shares[0] < shares[2] < shares[4]
    assert shares[-1] == pytest.approx(500, abs=60)


def test_calls_in_a_row_without_an_answer_leave_a_server_out():
    """One alone may be its message's fault; a response in between restarts the count."""
    upstream = Upstream("app", [A, B])
    for _ in range(BAD_IN_A_ROW - 1):
        assert upstream.suspected(A, 0.0, 0.0) is None
    upstream.answered(A, 0.0)
    for _ in range(BAD_IN_A_ROW - 1):
        assert upstream.suspected(A, 0.0, 0.0) is None
    assert upstream.suspected(A, 0.0, 0.0) == 1.0


def test_the_last_server_is_never_left_out_for_its_answers():
    """Messages that time out everywhere do not close an upstream."""
    upstream = Upstream("app", [A, B])
    assert [upstream.suspected(A, 0.0, 0.0) for _ in range(BAD_IN_A_ROW)] == [None, None, 1.0]
    assert [upstream.suspected(B, 0.0, 0.0) for _ in range(BAD_IN_A_ROW)] == [None, None, None]
    assert upstream.choose(0.5) == B


def test_a_queue_that_was_asked_for_less_goes_to_the_other_server():
    """Only that queue, and for as long as it was asked; the server is called by the others as before."""
    upstream = Upstream("app", [A, B])
    assert upstream.asked_less("q", A, 0.0, 0.0, 20.0)
    assert {upstream.choose(10.0, queue="q") for _ in range(6)} == {B}
    assert {upstream.choose(10.0, queue="r") for _ in range(6)} == {A, B}
    assert {upstream.choose(20.0, queue="q") for _ in range(6)} == {A, B}


def test_a_queue_that_every_server_asked_for_less_has_none_to_go_to():
    """It reports that; a call that is made all the same goes to one of them, and ejects none."""
    upstream = Upstream("app", [A, B])
    assert upstream.asked_less("q", A, 0.0, 0.0, 0.0)
    assert not upstream.asked_less("q", B, 0.0, 0.0, 0.0)
    assert upstream.choose(0.5, queue="q") in (A, B)
    assert upstream.choose(0.5, queue="r") in (A, B)
    assert not Upstream("one", [A]).asked_less("q", A, 0.0, 0.0, 0.0)


def test_it_is_asked_for_longer_each_time_until_it_answers():
    """1, 2, 4 … s for that queue; an answer ends it."""
    upstream = Upstream("app", [A, B])
    for now, until in ((0.0, 1.0), (1.0, 3.0), (3.0, 7.0)):
        upstream.asked_less("q", A, now, 0.0, 0.0)
        assert {upstream.choose(until - 0.1, queue="q") for _ in range(4)} == {B}
        assert {upstream.choose(until, queue="q") for _ in range(4)} == {A, B}
    upstream.answered(A, 7.0, "q")
    assert {upstream.choose(3.5, queue="q") for _ in range(4)} == {A, B}


def test_three_queues_that_are_asked_for_less_leave_a_server_a_trickle():
    """Its calls are cut, not closed, and they grow back."""
    upstream = Upstream("app", [A, B])
    for queue in ("a", "b", "c"):
        assert upstream.share(A, 0.0) == 1.0
        upstream.asked_less(queue, A, 0.0, 0.0, 0.0)
    assert upstream.share(A, 0.0) == TRICKLE
    assert upstream.share(A, RETURN_SECONDS) == 1.0


def test_queues_without_number_are_not_all_remembered():
    """What is known of queues at servers is bounded."""
    upstream = Upstream("app", [A, B])
    for number in range(3 * MOST_QUEUES):
        upstream.asked_less(f"q{number}", A, 0.0, 0.0, 0.0)
    assert len(upstream._asked) == MOST_QUEUES
    assert max(map(len, upstream._asking.values()), default=0) <= 3


def test_a_failed_check_leaves_a_server_out_until_one_passes():
    """Not even a probe is sent to it; then its share grows."""
    upstream = Upstream("app", [A])
    assert upstream.checked(A, 0.0, passed=False)
    assert not upstream.checked(A, 1.0, passed=False)
    assert upstream.choose(60.0, anyway=True) is None
    assert upstream.checked(A, 61.0, passed=True)
    assert not upstream.checked(A, 62.0, passed=True)
    assert upstream.choose(62.0) == A


def test_it_is_left_out_for_longer_each_time():
    """1, 2, 4 … 30 s, and calls that fail together are one failure."""
    upstream = Upstream("app", [A, B])
    now, waits = 0.0, []
    for _ in range(7):
        waits.append(upstream.refused(A, now, 0.0))
        assert upstream.refused(A, now, 0.0) is None
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_an_answer_takes_it_back():
    """A server that was reached comes back, and its next failure is its first."""
    upstream = Upstream("app", [A, B])
    upstream.refused(A, 0.0, 0.0)
    upstream.refused(B, 0.0, 0.0)
    upstream.answered(A, 0.5)
    assert upstream.choose(0.5) == A
    assert upstream.refused(A, 0.5, 0.0) == 1.0


def test_a_call_tries_each_server_once():
    """What was tried is not given again, and in the end there is none."""
    upstream = Upstream("app", [A, B, C])
    tried: list[str] = []
    while (server := upstream.choose(0.0, tried)) is not None:
        tried.append(server)
    assert sorted(tried) == [A, B, C]


def test_all_left_out_means_none():
    """An ordinary call is not made then."""
    upstream = Upstream("app", [A, B])
    upstream.refused(A, 0.0, 0.0)
    upstream.refused(B, 0.0, 0.0)
    assert upstream.choose(0.5) is None


def test_a_probe_tries_them_all_the_same():
    """First the one whose time is over first, then the others, each once."""
    upstream = Upstream("app", [A, B])
    upstream.refused(B, 0.0, 0.0)
    upstream.refused(A, 0.2, 0.0)
    assert upstream.choose(0.5, anyway=True) == B
    assert upstream.choose(0.5, [B], anyway=True) == A
    assert upstream.choose(0.5, [A, B], anyway=True) is None


def test_a_single_server_that_is_left_out():
    """One server is none when it is left out, but for a probe."""
    upstream = Upstream("app", [A])
    upstream.refused(A, 0.0, 0.0)
    assert upstream.choose(0.5) is None
    assert upstream.choose(0.5, anyway=True) == A


def test_servers_can_be_replaced():
    """What is known of those that stay is kept, what goes is forgotten."""
    upstream = Upstream("app", [A, B])
    upstream.refused(A, 0.0, 0.0)
    upstream.refused(B, 0.0, 0.0)
    upstream.replace_servers([B, C])
    assert [upstream.choose(0.5) for _ in range(2)] == [C, C]
    assert upstream.refused(A, 0.5, 0.0) is None
    assert upstream.choose(2.0, [C]) == B

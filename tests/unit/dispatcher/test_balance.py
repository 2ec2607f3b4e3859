"""balance: servers of an upstream in turn, without those that refused."""

from __future__ import annotations

from ap4r.dispatcher.balance import Upstream

A, B, C = "http://a", "http://b", "http://c"


def test_servers_are_used_in_turn():
    """Each has the same share."""
    upstream = Upstream("app", [A, B, C])
    assert [upstream.choose(0.0) for _ in range(6)] == [A, B, C, A, B, C]


def test_a_single_server_is_always_it():
    """Nothing to choose."""
    assert [Upstream("app", [A]).choose(0.0) for _ in range(3)] == [A, A, A]


def test_a_server_that_refused_is_left_out_for_a_while():
    """1 s at first; then it has its turn again."""
    upstream = Upstream("app", [A, B])
    assert upstream.refused(A, 0.0, 0.0) == 1.0
    assert [upstream.choose(0.5) for _ in range(3)] == [B, B, B]
    assert A in {upstream.choose(1.0) for _ in range(2)}


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
    """A server that was reached is as good as the others, and its next failure is its first."""
    upstream = Upstream("app", [A, B])
    upstream.refused(A, 0.0, 0.0)
    upstream.answered(A)
    assert {upstream.choose(0.0) for _ in range(2)} == {A, B}
    assert upstream.refused(A, 0.0, 0.0) == 1.0


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

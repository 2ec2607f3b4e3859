"""cuts: a server gets fewer calls where several of its queues, or its connections, say so; never none."""

from __future__ import annotations

from ap4r.dispatcher.flow.reduced_limits import DOUBLED_SECONDS, MOST_SERVERS, PAUSE_SECONDS, WITHIN_SECONDS, Cuts


def ask(cuts: Cuts, queues: str, now: float = 0.0, calls: int = 40) -> int | None:
    """Answer several queues with requests for fewer calls; return the result of the last one."""
    return [cuts.asked_less("o", queue, calls, now) for queue in queues][-1]


def test_one_queue_says_nothing_of_its_server():
    """However often it asks for less."""
    cuts = Cuts()
    assert ask(cuts, "a" * 100) is None
    assert ask(cuts, "ab" * 100) is None
    assert not cuts


def test_three_queues_within_ten_seconds_halve_it():
    """Not three in a longer time."""
    cuts = Cuts()
    assert [ask(cuts, "a", 0.0), ask(cuts, "b", 5.0), ask(cuts, "c", WITHIN_SECONDS + 0.1)] == [None] * 3
    assert ask(cuts, "d", WITHIN_SECONDS + 1.0) == 20


def test_it_is_cut_and_not_closed():
    """At least one call is allowed, however often it is asked for less."""
    cuts, now = Cuts(), 0.0
    for _ in range(20):
        ask(cuts, "abc", now, calls=3)
        now += PAUSE_SECONDS
        assert cuts.allowed("o", now) == 1


def test_it_grows_back():
    """Twice as many each ten seconds, until nothing is left of the cut."""
    cuts = Cuts()
    ask(cuts, "abc")
    allowed = [cuts.allowed("o", seconds * DOUBLED_SECONDS) for seconds in range(3)]
    assert allowed == [20, 40, 80]
    assert cuts.origins(64, 0.0) == {"o": 20}
    assert cuts.origins(64, 2 * DOUBLED_SECONDS) == {}
    assert not cuts


def test_what_was_in_flight_cuts_it_once():
    """Answers that come together are one reason."""
    cuts = Cuts()
    assert ask(cuts, "abc") == 20
    assert ask(cuts, "defghi", 0.5) is None
    assert ask(cuts, "abc", PAUSE_SECONDS) == 10


def test_connections_that_end_without_an_answer_speak_for_the_server():
    """Three in a row; an answer in between begins the count again."""
    cuts = Cuts()
    assert [cuts.ended("o", 64, 0.0) for _ in range(2)] == [None, None]
    assert cuts.suspects
    cuts.answered("o")
    assert not cuts.suspects
    assert [cuts.ended("o", 64, 0.0) for _ in range(3)] == [None, None, 32]


def test_what_is_remembered_is_bounded():
    """Servers without number cost no memory without end."""
    cuts = Cuts()
    for number in range(3 * MOST_SERVERS):
        for queue in "abc":
            cuts.asked_less(f"o{number}", queue, 64, number * 0.001)
        cuts.ended(f"o{number}", 64, 0.0)
    assert max(len(cuts._cuts), len(cuts._asked), len(cuts._ends)) <= MOST_SERVERS

"""lanes: which lanes go to a server, as far as was learnt, and which of them are held."""

from __future__ import annotations

from ap4r.dispatcher.flow.holds import Holds
from ap4r.dispatcher.flow.lane_index import LaneIndex
from ap4r.outcome.outcome import Failure, Reason

WHY = Failure(Reason.CONNECT_FAILED)


def learnt(*names: tuple[int, str, str], most: int = 100) -> tuple[Holds, LaneIndex]:
    holds = Holds()
    lanes = LaneIndex(holds, most)
    for name in names:
        lanes.learn(*name)
    return holds, lanes


def test_lanes_are_learnt():
    """Lanes of all origins that are asked for, together."""
    _, lanes = learnt((1, "q", "a"), (2, "q", "b"), (3, "r", "a"))
    assert lanes.of(["a"]) == {1, 3}
    assert lanes.of(["a", "b"]) == {1, 2, 3}
    assert lanes.of(["c"]) == lanes.of(()) == frozenset()
    assert lanes.knows("a")
    assert lanes.knows(("r", "a"))
    assert not lanes.knows(("r", "b"))


def test_a_lane_has_one_origin():
    """What is learnt last holds."""
    _, lanes = learnt((1, "q", "a"), (1, "q", "b"))
    assert lanes.of(["a"]) == frozenset()
    assert lanes.of(["b"]) == {1}


def test_what_is_held_is_excluded():
    """All lanes of a server, one lane of a queue there; and a lane that is held twice until both holds end."""
    holds, lanes = learnt((1, "q", "a"), (2, "r", "a"), (3, "q", "b"))
    holds.hold(("q", "a"), 0.0, 0.0, WHY, probe=False)
    assert lanes.excluded() == {1}
    holds.hold("a", 0.0, 0.0, WHY, probe=False, asked_seconds=5.0)
    assert lanes.excluded() == {1, 2}
    holds.advance(1.0)
    assert lanes.excluded() == {1, 2}
    holds.advance(5.0)
    assert lanes.excluded() == frozenset()


def test_a_lane_that_is_learnt_of_what_is_held_is_excluded_too():
    """And one that goes elsewhere from now on is not."""
    holds, lanes = learnt()
    holds.hold("a", 0.0, 0.0, WHY, probe=False)
    lanes.learn(7, "q", "a")
    assert lanes.excluded() == {7}
    lanes.learn(7, "q", "b")
    assert lanes.excluded() == frozenset()


def test_memory_is_bounded():
    """The oldest is forgotten first, with all that is known of it."""
    holds, lanes = learnt(most=10)
    holds.hold("o0", 0.0, 0.0, WHY, probe=False)
    for lane in range(1_000):
        lanes.learn(lane, f"q{lane}", f"o{lane % 3}")
    assert sorted(lanes.of(["o0", "o1", "o2"])) == list(range(990, 1_000))
    assert lanes.excluded() == {990, 993, 996, 999}
    assert len(lanes._by_key) == 13

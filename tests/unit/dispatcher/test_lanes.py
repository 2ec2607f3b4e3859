"""lanes: which lanes go to an origin, as far as was learnt."""

from __future__ import annotations

from ap4r.dispatcher.lanes import Lanes


def test_lanes_are_learnt():
    """Lanes of all origins that are asked for, together."""
    lanes = Lanes()
    for lane, origin in ((1, "a"), (2, "b"), (3, "a")):
        lanes.learn(lane, origin)
    assert lanes.of({"a"}) == {1, 3}
    assert lanes.of({"a", "b"}) == {1, 2, 3}
    assert lanes.of({"c"}) == lanes.of(()) == frozenset()


def test_a_lane_has_one_origin():
    """What is learnt last holds."""
    lanes = Lanes()
    lanes.learn(1, "a")
    lanes.learn(1, "b")
    assert lanes.of({"a"}) == frozenset()
    assert lanes.of({"b"}) == {1}


def test_memory_is_bounded():
    """The oldest is forgotten first."""
    lanes = Lanes(most=10)
    for lane in range(1_000):
        lanes.learn(lane, f"o{lane % 3}")
    assert sorted(lanes.of({"o0", "o1", "o2"})) == list(range(990, 1_000))

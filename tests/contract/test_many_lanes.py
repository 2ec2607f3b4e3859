"""Many lanes: what a process keeps of them follows what there is, however lanes are made or forgotten."""

from __future__ import annotations

from ap4r.outcome.outcome import Delivered
from tests.support.factories import NOW, claim, dispatcher, message, put, settle

DAY = 86_400.0


def test_lanes_of_others_are_seen(open_store):
    """Those that another process makes between two claims, and those that this one makes itself."""
    one, other = open_store(), open_store()
    owner = dispatcher(one)
    for number in range(3):
        put(other, message(f"theirs.{number}"))
        put(one, message(f"ours.{number}"))
        leases = claim(one, owner)
        assert sorted(lease.message.queue for lease in leases) == [f"ours.{number}", f"theirs.{number}"]
        settle(one, *((lease, Delivered()) for lease in leases))


def test_a_lane_that_was_forgotten_comes_again(open_store):
    """After its removal, under a number of its own."""
    store = open_store()
    for instant in (NOW, NOW + 30 * DAY, NOW + 60 * DAY):
        owner = dispatcher(store, f"at {instant}", now=instant)
        put(store, message("rare"), message("often"), now=instant)
        leases = claim(store, owner, now=instant)
        assert sorted(lease.message.queue for lease in leases) == ["often", "rare"]
        settle(store, *((lease, Delivered()) for lease in leases), now=instant)
        while store.prune(now=instant + 20 * DAY):
            pass


def test_each_lane_has_its_turn(open_store):
    """Of more lanes than a claim takes from, none is asked twice before all were asked."""
    store = open_store()
    names = [f"q.{number:03}" for number in range(60)]
    for _ in range(2):
        put(store, *(message(name) for name in names))
    owner, seen = dispatcher(store), []
    for _ in range(12):
        seen += [lease.message.queue for lease in claim(store, owner, 10)]
    assert sorted(seen[:60]) == names
    assert sorted(seen[60:]) == names

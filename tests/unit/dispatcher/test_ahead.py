"""ahead: messages are claimed ahead of their calls where they are called soon, and nowhere else."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.delivery.ahead import AHEAD_SECONDS, MOST_AHEAD, WAIT_SECONDS, Ahead
from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import PutBack
from ap4r.settings.settings import Settings
from tests.support.factories import message, messages
from tests.unit.dispatcher.world import RESET, World, http

QUICK = 1_000  #: messages; a quick target, called eight at a time, takes as many in a quarter of a second


def run(ahead, per_second, seconds=0.5, step=0.01, now=0.0):
    """Simulate answers at a rate; return what is worth claiming ahead at the end."""
    count = 0
    for number in range(1, round(seconds / step) + 1):
        for _ in range(round(per_second * step)):
            ahead.answered()
        count = ahead.count(now + number * step)
    return count


@pytest.mark.parametrize(("per_second", "count"), [(0, 0), (100, 4), (1_000, 40), (100_000, MOST_AHEAD)])
def test_as_many_as_are_called_in_a_moment(per_second, count):
    """The rate of the answers times that moment, up to a bound."""
    assert run(Ahead(), per_second) == pytest.approx(count, abs=1)
    assert AHEAD_SECONDS < WAIT_SECONDS / 10


def test_nothing_after_a_target_fell_silent():
    """What it once took says nothing of now."""
    ahead = Ahead()
    run(ahead, 5_000)
    assert ahead.count(0.7) < MOST_AHEAD
    assert ahead.count(0.8) == 0


@pytest.fixture
def world():
    """A dispatcher with a small limit, and a target that answers within two milliseconds."""
    world = World(Settings(bell="none", listen="none", concurrency=8)).start()
    world.targets.scripts["/do"] = [0.002, *http(200)]
    return world


def in_flight(world):
    return world.dispatcher.facts()["in_flight"]


def settle_all(world, seconds=3.0):
    """Advance time until nothing is left; return the most calls that were in flight."""
    most = 0
    for _ in range(round(seconds / 0.001)):
        world.clock.advance(0.001)
        most = max(most, in_flight(world))
        if not world.database.records:
            break
    return most


def test_fewer_claims_for_as_many_calls(world):
    """A quick target's messages are claimed many at a time, and never more are called at once than may be."""
    world.put(*messages(QUICK))
    assert settle_all(world) == 8
    assert len(world.targets.received) == QUICK
    assert world.store.calls["claim"] < QUICK / 8 / 2
    assert all(not isinstance(event.outcome, PutBack) for event in world.told(events.Settled))


def test_a_slow_target_has_nothing_claimed_ahead(world):
    """Its messages stay in the store, where any dispatcher finds them."""
    world.targets.scripts["/slow"] = [0.5, *http(200)]
    world.put(*messages(100, url="/slow"))
    world.pass_time(1.4)
    assert sum(record.state == "leased" for record in world.database.records.values()) == 8


def stalled(world, **described):
    """Simulate a target that answers many calls, then none; return the leased messages, more than the calls."""
    world.put(*messages(QUICK, **described))
    world.pass_time(0.15, step=0.001)
    world.targets.scripts["/do"] = [1_000.0]
    world.pass_time(0.1, step=0.001)
    assert in_flight(world) == 8
    return [record for record in world.database.records.values() if record.state == "leased"]


def test_what_waits_goes_back_when_the_target_stalls(world):
    """After a second; it costs no attempt, and the calls in flight go on."""
    assert len(stalled(world)) > 8
    world.pass_time(WAIT_SECONDS + 0.1)
    leased = [record for record in world.database.records.values() if record.state == "leased"]
    assert (len(leased), in_flight(world)) == (8, 8)
    assert {record.attempt for record in world.database.records.values() if record.state == "ready"} == {0}


def test_what_waits_goes_back_at_a_stop_at_once(world):
    """Long before the calls in flight have used up their grace."""
    assert len(stalled(world)) > 8
    world.dispatcher.stopService()
    world.pass_time(0.1)
    assert sum(record.state == "leased" for record in world.database.records.values()) == 8
    assert {record.attempt for record in world.database.records.values() if record.state == "ready"} == {0}


def test_what_waits_for_a_held_target_goes_back_uncalled(world):
    """When it asks for less, those that were claimed ahead are not thrown at it."""
    world.put(*messages(QUICK))
    world.pass_time(0.15, step=0.001)
    called = len(world.targets.received)
    assert called < QUICK
    world.targets.scripts["/do"] = http(503)
    world.pass_time(0.5, step=0.001)
    assert len(world.targets.received) <= called + 2 * 8
    assert sum(record.state == "leased" for record in world.database.records.values()) == 0


def test_an_end_within_the_beginning_of_a_call(world):
    """However many end at once, while they are begun, none is lost and the stack stays flat."""
    world.targets.refusing.add("sick.example:80")
    world.put(*messages(QUICK))
    world.pass_time(0.1, step=0.001)
    world.put(message(url="http://sick.example/", upstream=None), *messages(100))
    settle_all(world, 1.0)
    assert len(world.targets.received) == QUICK + 100


@pytest.mark.parametrize("delivery", [Delivery.ONCE, Delivery.BEST_EFFORT])
def test_what_a_crash_would_give_up_is_not_claimed_ahead(world, delivery):
    """A `once` or a `best_effort` that was claimed and not called would be lost with a killed dispatcher."""
    world.put(*messages(QUICK, delivery=delivery))
    settle_all(world)
    assert len(world.targets.received) == QUICK
    assert world.store.calls["claim"] >= QUICK / 8


def test_a_reset_is_no_answer(world):
    """Connections that break claim nothing ahead, however quickly they do."""
    world.targets.scripts["/do"] = [RESET]
    world.put(*messages(200))
    world.pass_time(0.5, step=0.001)
    assert world.store.calls["claim"] > 200 / 8 / 2

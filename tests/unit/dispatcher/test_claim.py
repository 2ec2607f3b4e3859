"""The claim loop in a whole dispatcher: when it claims, how much, and how little it asks of an idle store."""

from __future__ import annotations

import pytest

from ap4r.errors import StoreUnavailable
from ap4r.events import events
from ap4r.settings.settings import Settings
from tests.support.factories import message, messages
from tests.unit.dispatcher.world import World, http


def test_a_bell_is_followed_at_once(world):
    """A message whose bell rings is on its way without any time passing."""
    world.put(message(url="/a"))
    world.clock.advance(0)
    assert world.targets.paths() == ["/a"]


def test_without_a_bell_the_poll_finds_it(world):
    """A lost bell costs latency, never a message."""
    world.put(message(), ring=False)
    world.pass_time(5.1, step=0.1)
    assert len(world.targets.received) == 1


def test_a_storm_of_bells_is_one_claim_each_five_milliseconds(world):
    """However many bells ring."""
    world.pass_time(1)
    before = world.store.calls["claim"]
    for _ in range(100):
        for _ in range(20):
            world.ring()
        world.clock.advance(0.001)
    assert world.store.calls["claim"] - before <= 21


def test_a_bell_before_its_commit_is_checked_again(world):
    """When the bell overtakes the commit, the message is found after 10, 50 or 250 ms."""
    world.ring()
    world.pass_time(0.1)
    world.put(message(), ring=False)
    world.pass_time(0.25)
    assert len(world.targets.received) == 1


def test_the_ladder_ends(world):
    """A bell for nothing costs a handful of claims."""
    world.pass_time(1)
    before = world.store.calls["claim"]
    world.ring()
    world.pass_time(4, step=0.01)
    assert world.store.calls["claim"] - before == 4


@pytest.mark.parametrize("ring", [True, False])
def test_a_due_message_is_claimed_at_its_time(world, ring):
    """Within 50 ms, if its dispatcher knows of it."""
    world.put(message(url="/later", delay_seconds=7.3), ring=ring)
    world.pass_time(7.29)
    assert world.targets.received == []
    world.pass_time(0.06)
    assert world.targets.paths() == ["/later"]


def test_no_more_is_claimed_than_there_is_room_for():
    """Calls in flight never exceed the concurrency, and the others wait in the store."""
    world = World(Settings(bell="none", listen="none", concurrency=4)).start()
    world.targets.scripts["/slow"] = [3.0, *http(200)]
    world.put(*messages(10, url="/slow"))
    world.pass_time(1)
    assert len(world.targets.received) == 4
    assert sum(record.state == "leased" for record in world.database.records.values()) == 4
    world.pass_time(2.2)
    assert len(world.targets.received) == 8


def test_a_backlog_is_worked_off_without_bells():
    """As long as the store has more, freed room is filled."""
    world = World(Settings(bell="none", listen="none", concurrency=4)).start()
    world.put(*messages(200))
    world.pass_time(2)
    assert world.database.records == {}
    assert len(world.targets.received) == 200


def test_claims_of_a_backlog_are_large():
    """Freed room is gathered, so that a claim brings several messages."""
    world = World(Settings(bell="none", listen="none", concurrency=64)).start()
    world.put(*messages(1_000))
    world.pass_time(3)
    assert world.database.records == {}
    assert world.store.calls["claim"] < 120


def test_each_message_is_called_once(world):
    """Whatever wakes the loop."""
    described = messages(300)
    for one in described:
        world.put(one)
        world.pass_time(0.003, step=0.001)
    world.pass_time(2)
    ids = [received.headers["ap4r-message-id"] for received in world.targets.received]
    assert sorted(ids) == sorted(one.id for one in described)


def test_an_idle_dispatcher_asks_for_little(world):
    """Alone and without work: one look each 5 s, a beat each 30 s, next to nothing else."""
    world.pass_time(10, step=0.1)
    world.store.calls.clear()
    world.pass_time(600, step=0.1)
    assert world.store.calls["look"] == pytest.approx(120, abs=2)
    assert world.store.calls["beat"] == pytest.approx(20, abs=2)
    assert world.store.calls["claim"] == 0
    assert sum(world.store.calls.values()) / 600 <= 0.3


def test_a_held_target_is_not_claimed_from(world):
    """What was put back once stays in the store until the hold is over, and others are served."""
    world.targets.refusing.add("sick.example:80")
    world.put(*messages(5, "queue.sick", url="http://sick.example/x", upstream=None))
    world.pass_time(0.2)
    before = len(world.targets.attempts)
    for _ in range(5):
        world.put(message("queue.well", url="/well"))
        world.pass_time(0.05)
    assert world.targets.paths() == ["/well"] * 5
    assert [one for one in world.targets.attempts[before:] if one == "sick.example:80"] == []


def test_the_end_of_a_hold_wakes_the_loop(world):
    """One call probes, and a good answer lets the others follow at once."""
    world.targets.refusing.add("sick.example:80")
    world.put(*messages(50, url="http://sick.example/x", upstream=None))
    world.pass_time(0.2)
    world.targets.attempts.clear()
    world.targets.refusing.clear()
    world.pass_time(1.2)
    assert len(world.targets.received) == 50
    assert world.told(events.TargetReleased) == [events.TargetReleased("http://sick.example")]


def test_a_target_that_stays_sick_is_probed_once_a_hold(world):
    """After 1, 2, 4 … 30 s, one call each."""
    world.targets.refusing.add("sick.example:80")
    world.put(*messages(50, url="http://sick.example/x", upstream=None))
    world.pass_time(0.2)
    first = len(world.targets.attempts)
    world.pass_time(120, step=0.02)
    probes = len(world.targets.attempts) - first
    assert 6 <= probes <= 10
    waits = [event.seconds for event in world.told(events.TargetHeld)]
    assert waits == sorted(waits)
    assert max(waits) <= 30


def test_a_capped_origin_gets_no_more_than_its_cap_and_delays_no_other():
    """An application in the same process is never given more calls than it has threads for."""
    world = World(Settings(bell="none", listen="none", concurrency=20), caps={"app": 3}).start()
    world.targets.scripts["/slow"] = [1.0, *http(200)]
    world.put(*messages(12, "queue.app", url="/slow"))
    world.put(*messages(30, "queue.other", url="http://other.example/x", upstream=None))
    world.pass_time(0.5)
    assert world.targets.paths().count("/slow") == 3
    assert world.targets.paths().count("/x") == 30
    world.pass_time(4)
    assert world.targets.paths().count("/slow") == 12
    put_back = [event for event in world.told(events.Settled) if type(event.outcome).__name__ == "PutBack"]
    assert len(put_back) <= 3


def test_a_store_that_fails_is_asked_again_and_again(world):
    """The loop catches, tells, waits longer, and goes on where it was."""
    world.store.failing = StoreUnavailable("memory", "locked")
    world.ring()
    world.pass_time(60, step=0.05)
    told = [event for event in world.told(events.StoreFailed) if event.doing == "claim"]
    assert 10 < len(told) < 25
    assert told[0].wait_seconds < told[-1].wait_seconds <= 5.0
    world.store.failing = None
    world.put(message(), ring=False)
    world.pass_time(6, step=0.05)
    assert len(world.targets.received) == 1
    assert world.told(events.StoreRecovered)


def test_a_defect_does_not_end_the_loop(world):
    """An unexpected error is logged with its traceback, and work continues."""
    world.store.failing = ZeroDivisionError("a defect")
    world.ring()
    world.pass_time(3)
    world.store.failing = None
    world.put(message())
    world.pass_time(6, step=0.05)
    assert "ZeroDivisionError" in world.told(events.Unexpected)[0].traceback
    assert len(world.targets.received) == 1


def test_a_claim_whose_answer_was_lost_loses_no_message(world):
    """What it may have brought is given back when the dispatcher has left the store and come again."""
    world.put(message(url="/slow"), ring=False)
    world.fail_after_claim(StoreUnavailable("memory", "connection lost", outcome_unknown=True))
    world.ring()
    world.pass_time(1)
    assert len(world.targets.received) == 1
    assert world.targets.received[0].headers["ap4r-attempt"] == "1"
    assert world.owners == 2


def test_a_claim_that_comes_too_late_loses_no_message(world):
    """The same when the store's thread hangs beyond the deadline, and what is in flight is left to end first."""
    world.targets.scripts["/slow"] = [9.0, *http(200)]
    world.put(message(url="/slow"))
    world.pass_time(0.1)
    world.workers.stuck = True
    world.put(message(url="/lost"))
    world.pass_time(6.5)
    world.workers.let_go()
    world.pass_time(5)
    assert world.targets.paths() == ["/slow", "/lost"]
    assert world.database.records == {}

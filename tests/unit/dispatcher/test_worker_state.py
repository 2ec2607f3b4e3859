"""The states of a store worker: opening, working, in doubt, draining, closed."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.store_worker.worker_state import WorkerState
from ap4r.errors import StoreUnavailable
from tests.support.factories import message
from tests.unit.dispatcher.world import World, http

LOST_ANSWER = StoreUnavailable("memory", "connection lost", outcome_unknown=True)


def state_of(world):
    """Return the state of the only worker."""
    [worker] = world.dispatcher.workers
    return worker.state


def word_of(world):
    """Return what /healthz says of it."""
    [facts] = world.dispatcher.facts()["stores"]
    return facts["state"]


def stop(world):
    """Begin to stop; the list has an item when the stop is complete."""
    stopped: list[object] = []
    world.dispatcher.stopService().addBoth(stopped.append)
    return stopped


@pytest.fixture
def doubting(world):
    """Return a world in which the answer to a claim was lost while a call of 5 s was in flight."""
    world.targets.scripts["/slow"] = [5.0, *http(200)]
    world.put(message(url="/slow"))
    world.pass_time(0.1)
    world.fail_after_claim(LOST_ANSWER)
    world.put(message(url="/lost"))
    world.pass_time(0.1)
    return world


def test_a_worker_opens_until_its_store_answers():
    """An outage at the start keeps it opening, and the end of the outage lets it work."""
    world = World()
    assert state_of(world) is WorkerState.CLOSED
    world.store.failing = StoreUnavailable("memory", "locked")
    world.start().pass_time(10, step=0.1)
    assert (state_of(world), word_of(world)) == (WorkerState.OPENING, "waiting for the store")
    world.store.failing = None
    world.pass_time(6, step=0.1)
    assert (state_of(world), word_of(world)) == (WorkerState.WORKING, "working")


def test_a_stop_during_an_outage_at_the_start_closes_at_once():
    """A store that was never reached is not waited for."""
    world = World()
    world.store.failing = StoreUnavailable("memory", "locked")
    world.start().pass_time(10, step=0.1)
    stopped = stop(world)
    world.pass_time(0.1)
    assert stopped == [None]
    assert (state_of(world), word_of(world)) == (WorkerState.CLOSED, "stopped")
    assert world.clock.getDelayedCalls() == []


def test_a_stop_while_the_store_opens_registers_nothing():
    """No call of the store begins after the one that the stop has to wait for."""
    world = World()
    world.workers.seconds = 0.05
    world.dispatcher.startService()
    world.clock.advance(0)
    stopped = stop(world)
    assert state_of(world) is WorkerState.DRAINING
    world.pass_time(0.2)
    assert stopped == [None]
    assert world.owners == 0


def test_a_worker_in_doubt_claims_nothing_until_it_is_registered_again(doubting):
    """It waits for what it holds, then takes a new owner id, and calls what the lost answer contained."""
    assert state_of(doubting) is WorkerState.IN_DOUBT
    doubting.put(message(url="/new"))
    doubting.pass_time(4)
    assert (state_of(doubting), doubting.targets.paths()) == (WorkerState.IN_DOUBT, ["/slow"])
    doubting.pass_time(2)
    assert (state_of(doubting), doubting.owners) == (WorkerState.WORKING, 2)
    assert sorted(doubting.targets.paths()) == ["/lost", "/new", "/slow"]


def test_a_stop_in_doubt_hands_back_what_the_lost_answer_contained(doubting):
    """The call in flight ends and is settled; the other message counts as not called."""
    stopped = stop(doubting)
    assert state_of(doubting) is WorkerState.DRAINING
    doubting.pass_time(6)
    assert stopped == [None]
    assert state_of(doubting) is WorkerState.CLOSED
    assert doubting.targets.paths() == ["/slow"]
    assert {(record.state, record.attempt) for record in doubting.database.records.values()} == {("ready", 0)}
    assert doubting.database.members == {}


def test_a_doubt_ends_with_the_stop_and_not_with_the_next_start(doubting):
    """A start registers once, and claims at once."""
    stop(doubting)
    doubting.pass_time(6)
    registered = doubting.owners
    doubting.dispatcher.startService()
    doubting.pass_time(0.1)
    assert (state_of(doubting), doubting.owners) == (WorkerState.WORKING, registered + 1)
    assert doubting.targets.paths() == ["/slow", "/lost"]


def test_an_owner_id_that_was_lost_while_in_doubt_is_replaced_once(doubting):
    """Others took the leases: the calls end, and the worker registers again."""
    doubting.database.open().rescue("owner-1", doubting.database.members["owner-1"].beat)
    doubting.dispatcher.workers[0].clocks_changed()
    doubting.pass_time(2)
    assert (state_of(doubting), doubting.owners) == (WorkerState.WORKING, 2)
    assert list(doubting.database.members) == ["owner-2"]


def test_a_second_signal_while_the_store_is_left_is_not_remembered(world):
    """There was no grace to end, and that of a later stop is waited for."""
    world.workers.seconds = 0.2
    stopped = stop(world)
    world.pass_time(0.1)
    world.dispatcher.end_grace()
    world.pass_time(1)
    assert (stopped, state_of(world)) == ([None], WorkerState.CLOSED)
    world.workers.seconds = 0.0
    world.dispatcher.startService()
    world.targets.scripts["/slow"] = [5.0, *http(200)]
    world.put(message(url="/slow"))
    world.pass_time(0.1)
    stopped = stop(world)
    world.pass_time(4)
    assert stopped == []
    world.pass_time(2)
    assert stopped == [None]
    assert world.database.records == {}

"""The heartbeat in a whole dispatcher: how often it beats, and what a beat that fails forbids."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.store_worker.heartbeat import BEAT_SECONDS, FRESH_SECONDS
from ap4r.errors import StoreUnavailable
from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Delivered, PutBack, RetryLater
from tests.support.factories import claim, dispatcher, message, messages, put
from tests.unit.dispatcher.world import http


def beats(world, seconds):
    """Count the signs of life in the store within so many seconds."""
    member = world.database.members["owner-1"]
    before = member.beat
    world.pass_time(seconds, step=0.05)
    return member.beat - before


def break_beats(world):
    """Fail every call of the store that records a heartbeat."""
    for name in ("beat", "claim"):

        def fail(*args, **kwargs):
            raise StoreUnavailable("memory", "away")

        setattr(world.store, name, fail)


def mend_beats(world):
    """Accept these calls again."""
    for name in ("beat", "claim"):
        delattr(world.store, name)


def test_five_seconds_while_leases_are_held(world):
    """An observer sees the counter move well within its 15 s."""
    world.targets.scripts["/slow"] = [25.0, *http(200)]
    world.put(message(url="/slow"))
    world.pass_time(0.5)
    assert beats(world, 20) == pytest.approx(4, abs=1)


def test_thirty_seconds_when_idle(world):
    """A dispatcher without leases costs next to nothing."""
    world.pass_time(1)
    assert beats(world, 119) == pytest.approx(4, abs=1)


def test_a_claim_is_a_beat(world):
    """It moves the counter, so that it is never older than the lease."""
    world.pass_time(29)
    world.store.calls.clear()
    world.put(message())
    world.pass_time(2)
    assert world.store.calls["beat"] == 0


def test_calls_are_begun_only_on_a_fresh_beat(world):
    """Who slept between claim and call gives the message back uncalled: it may be another's by now."""
    world.workers.seconds = 0.2
    world.put(message(), message(delivery=Delivery.ONCE))
    world.clock.advance(0)
    world.asleep_seconds = 10.5
    world.pass_time(0.21)
    assert world.targets.received == []
    world.pass_time(2)
    assert [type(event.outcome) for event in world.told(events.Settled)[:2]] == [PutBack, PutBack]
    assert len(world.targets.received) == 2


@pytest.mark.parametrize("delivery", [Delivery.REPEATED, Delivery.ONCE])
def test_a_connection_that_came_about_too_late_is_not_used(world, delivery):
    """The beat is looked at once more right before the first byte."""
    world.targets.stuck.add("slow.example:80")
    one = message(url="http://slow.example/x", upstream=None, delivery=delivery)
    world.put(one)
    world.pass_time(0.1)
    break_beats(world)
    world.asleep_seconds = 11.0
    [come_about] = world.targets.waiting
    come_about()
    world.pass_time(0.1)
    assert world.targets.received == []
    assert isinstance(world.told(events.CallEnded)[0].outcome, PutBack)
    assert world.database.records[one.id].attempt == 0


def test_calls_in_flight_are_dropped_before_others_may_take_them(world):
    """Less than 15 s after the last beat that succeeded."""
    world.targets.scripts["/slow"] = [60.0, *http(200)]
    once = message(url="/slow", delivery=Delivery.ONCE)
    repeated = message(url="/slow")
    world.put(once, repeated)
    world.pass_time(0.1)
    break_beats(world)
    world.pass_time(13.5, step=0.05)
    assert world.told(events.CallEnded) == []
    world.pass_time(1.3, step=0.05)
    ended = {event.message_id: event.outcome for event in world.told(events.CallEnded)}
    assert isinstance(ended[once.id], Dead)
    assert isinstance(ended[repeated.id], RetryLater)
    assert not ended[repeated.id].counts
    assert all(connection.lost for connection in world.targets.connections)


def test_a_dispatcher_that_was_away_and_not_missed_keeps_its_calls(world):
    """After a sleep or a standstill the store says whether others have the messages: they have not."""
    world.targets.scripts["/slow"] = [5.0, *http(200)]
    once = message(url="/slow", delivery=Delivery.ONCE)
    world.put(once)
    world.pass_time(0.1)
    world.asleep_seconds = 3_600.0
    world.pass_time(6, step=0.05)
    assert [type(event.outcome) for event in world.told(events.CallEnded)] == [Delivered]
    assert world.told(events.MachineSlept) == [events.MachineSlept(3_600.0)]
    assert world.told(events.ClockStepped) == []
    assert world.owners == 1


def test_a_dispatcher_that_was_away_and_cannot_ask_drops_its_calls(world):
    """While the store does not answer, others may have the messages."""
    world.targets.scripts["/slow"] = [5.0, *http(200)]
    world.put(message(url="/slow", delivery=Delivery.ONCE))
    world.pass_time(0.1)
    break_beats(world)
    world.asleep_seconds = 20.0
    world.pass_time(2, step=0.05)
    assert [type(event.outcome) for event in world.told(events.CallEnded)] == [Dead]


def test_a_dispatcher_that_was_away_and_taken_for_dead_drops_its_calls(world):
    """A lease that is lost stays lost."""
    world.targets.scripts["/slow"] = [5.0, *http(200)]
    world.put(message(url="/slow"))
    world.pass_time(0.1)
    other = world.database.open()
    [beat] = other.look().beats
    assert other.rescue(beat.owner, beat.beat).freed == 1
    world.asleep_seconds = 20.0
    world.pass_time(2, step=0.05)
    assert not isinstance(world.told(events.CallEnded)[0].outcome, Delivered)
    assert world.owners == 2


@pytest.mark.parametrize("seconds", [-86_400.0, -1.0, 1.0, 86_400.0])
def test_a_step_of_the_wall_clock_is_followed_by_a_beat_and_a_look(world, seconds):
    """Writers find the doorbell by the beat's time in the store, and other messages may be due."""
    world.pass_time(10)
    before = dict(world.store.calls)
    world.stepped_seconds = seconds
    world.pass_time(2)
    [event] = world.told(events.ClockStepped)
    assert event.seconds == pytest.approx(seconds)
    assert world.store.calls["beat"] == before.get("beat", 0) + 1
    assert world.store.calls["look"] > before["look"]


def test_after_an_outage_work_goes_on(world):
    """An outage of the store makes no dispatcher dead."""
    world.put(message())
    world.pass_time(1)
    break_beats(world)
    world.pass_time(60, step=0.05)
    mend_beats(world)
    world.put(message())
    world.pass_time(7, step=0.05)
    assert len(world.targets.received) == 2
    assert world.owners == 1


def test_who_was_taken_for_dead_comes_again_under_another_name(world):
    """What it held is others'; it drops its calls, and works on with new leases."""
    world.targets.scripts["/slow"] = [60.0, *http(200)]
    world.put(message(url="/slow"))
    world.pass_time(0.1)
    other = world.database.open()
    [beat] = [beat for beat in other.look().beats if beat.owner == "owner-1"]
    assert other.rescue("owner-1", beat.beat).freed == 1
    taken = claim(other, dispatcher(other, "other", now=None), now=None)
    world.pass_time(6)
    assert world.told(events.OwnerWasLost) == [events.OwnerWasLost("owner-2")]
    assert [lost.message_id for lost in world.told(events.LeaseLost)] == [taken[0].message.id]
    world.put(message(url="/next"))
    world.pass_time(0.1)
    assert world.targets.paths() == ["/slow", "/next"]
    assert taken[0].message.id in world.database.records


def test_the_leases_of_a_silent_dispatcher_are_taken(world):
    """They are delivered again within 20 s, and that is logged once."""
    other = world.database.open()
    put(other, *messages(3), now=None)
    claim(other, dispatcher(other, "other", now=None), now=None)
    world.pass_time(20, step=0.05)
    assert world.told(events.DispatcherDied) == [events.DispatcherDied("other", 3, 0, 0)]
    assert len(world.targets.received) == 3


def test_a_dispatcher_that_beats_keeps_its_leases(world):
    """However long it holds them."""
    other = world.database.open()
    put(other, message(), now=None)
    claim(other, dispatcher(other, "other", now=None), now=None)
    for _ in range(20):
        other.beat("other")
        world.pass_time(5, step=0.1)
    assert world.told(events.DispatcherDied) == []
    assert world.targets.received == []


def test_an_own_outage_makes_no_other_dispatcher_dead(world):
    """Time in which we could not read does not count against others."""
    other = world.database.open()
    put(other, message(), now=None)
    claim(other, dispatcher(other, "other", now=None), now=None)
    world.pass_time(5, step=0.1)
    world.store.failing = StoreUnavailable("memory", "away")
    world.pass_time(60, step=0.1)
    world.store.failing = None
    other.beat("other")
    world.pass_time(10, step=0.1)
    assert world.told(events.DispatcherDied) == []


def test_claims_beat_only_when_the_last_beat_is_not_fresh(world):
    """A busy dispatcher's counter moves often enough to be seen, and not with every claim."""
    [member] = world.database.members.values()
    moved = []
    for _ in range(100):
        before = member.beat
        world.put(message())
        world.pass_time(0.1)
        moved.append(member.beat - before)
    claims, beats = world.store.calls["claim"], sum(moved)
    assert claims > 100
    assert 10.0 / BEAT_SECONDS <= beats <= 10.0 / FRESH_SECONDS + 1
    longest = max(len(run) for run in "".join("b" if count else " " for count in moved).split("b"))
    assert longest * 0.1 <= BEAT_SECONDS + 0.2

"""The dispatcher as a service: start, drain, reload; how often, in what order, and with what left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.error import ConnectionRefusedError

from ap4r.errors import StoreUnavailable
from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Delivered, PutBack, Reason, RetryLater
from ap4r.settings.load import parse_settings
from ap4r.settings.settings import Settings
from tests.support.factories import message, messages
from tests.unit.dispatcher.world import World, http


def stop(world):
    """Begin to stop; the list has an item when the stop is complete."""
    stopped: list[object] = []
    world.dispatcher.stopService().addBoth(stopped.append)
    return stopped


def test_start_and_stop_five_hundred_times():
    """Nothing is left behind: no timer, no place in the store, no message; and each start works."""
    world = World()
    for number in range(500):
        world.dispatcher.startService()
        world.clock.advance(0)
        if number % 50 == 0:
            world.put(message())
            world.pass_time(0.1)
        stopped = stop(world)
        world.pass_time(0.01)
        assert stopped == [None]
        assert world.database.members == {}
    world.pass_time(2)
    assert world.clock.getDelayedCalls() == []
    assert len(world.targets.received) == 10
    assert world.database.records == {}


@pytest.mark.parametrize("steps", range(12))
def test_stop_at_any_moment_of_a_start(steps):
    """However soon a stop follows a start, and however slow the store is, both come to an end."""
    world = World()
    world.workers.seconds = 0.05
    world.put(*messages(5), ring=False)
    world.dispatcher.startService()
    for _ in range(steps):
        world.clock.advance(0.02)
    stopped = stop(world)
    world.pass_time(3)
    assert stopped == [None]
    assert world.database.members == {}
    assert world.clock.getDelayedCalls() == []
    assert {record.state for record in world.database.records.values()} <= {"ready"}


def test_a_store_that_is_away_is_waited_for():
    """The dispatcher begins when the store can be reached."""
    world = World()
    world.store.failing = StoreUnavailable("memory", "locked")
    world.start()
    world.pass_time(30, step=0.1)
    assert world.told(events.DispatcherStarted) == []
    assert world.dispatcher.facts()["stores"][0]["state"] == "waiting for the store"
    world.store.failing = None
    world.put(message(), ring=False)
    world.pass_time(6, step=0.1)
    assert len(world.targets.received) == 1


class TestDrain:
    def test_calls_in_flight_end_and_are_settled(self, world):
        """A stop claims no more, waits for what is called, and leaves the store clean."""
        world.targets.scripts["/slow"] = [3.0, *http(200)]
        world.put(message(url="/slow"))
        world.pass_time(0.1)
        stopped = stop(world)
        waiting = message(url="/later")
        world.put(waiting)
        world.pass_time(2.5)
        assert stopped == []
        world.pass_time(1)
        assert stopped == [None]
        assert world.targets.paths() == ["/slow"]
        assert list(world.database.records) == [waiting.id]
        assert world.database.members == {}

    def test_beats_go_on_while_draining(self):
        """A dispatcher in a long grace period is not considered dead."""
        world = World(Settings(bell="none", listen="none", grace_seconds=60.0, timeout_seconds=60.0)).start()
        world.targets.scripts["/slow"] = [50.0, *http(200)]
        world.put(message(url="/slow"))
        world.pass_time(0.1)
        stopped = stop(world)
        other = world.database.open()
        seen = {other.look().beats[0].beat}
        for _ in range(8):
            world.pass_time(5.5, step=0.1)
            seen.add(other.look().beats[0].beat)
        assert len(seen) == 9
        world.pass_time(8)
        assert stopped == [None]
        assert [type(event.outcome) for event in world.told(events.Settled)] == [Delivered]

    def test_after_the_grace_calls_are_cut(self):
        """A `once` that was called is dead as unknown, a repeated one costs no failure, an uncalled one goes back."""
        world = World(Settings(bell="none", listen="none", grace_seconds=2.0)).start()
        world.targets.scripts["/slow"] = [60.0, *http(200)]
        world.targets.stuck.add("stuck.example:80")
        once, repeated = message(url="/slow", delivery=Delivery.ONCE), message(url="/slow")
        uncalled = message(url="http://stuck.example/x", upstream=None, delivery=Delivery.ONCE)
        world.put(once, repeated, uncalled)
        world.pass_time(0.1)
        stopped = stop(world)
        world.pass_time(1.8)
        assert stopped == []
        world.pass_time(0.5)
        assert stopped == [None]
        outcomes = {event.message_id: event.outcome for event in world.told(events.Settled)}
        assert isinstance(outcomes[once.id], Dead)
        assert outcomes[once.id].reason is Reason.UNKNOWN
        assert isinstance(outcomes[repeated.id], RetryLater)
        assert isinstance(outcomes[uncalled.id], PutBack)
        assert {one.failures for one in world.database.records.values()} == {0}
        assert world.database.records[uncalled.id].attempt == 0

    def test_end_grace_ends_the_grace(self, world):
        """Who asks twice does not want to wait."""
        world.targets.scripts["/slow"] = [60.0, *http(200)]
        world.put(message(url="/slow"))
        world.pass_time(0.1)
        stopped = stop(world)
        world.pass_time(0.5)
        world.dispatcher.end_grace()
        world.pass_time(0.1)
        assert stopped == [None]

    def test_who_asks_twice_at_once_does_not_wait_either(self, world):
        """A second signal that comes with the first, or while a claim that is under way is waited for, counts."""
        world.targets.scripts["/slow"] = [60.0, *http(200)]
        world.put(message(url="/slow"))
        world.pass_time(0.1)
        world.workers.seconds = 0.2
        world.ring()
        world.pass_time(0.05)
        stopped = stop(world)
        world.dispatcher.end_grace()
        world.pass_time(1.5)
        assert stopped == [None]

    def test_end_grace_without_a_stop_does_nothing(self, world):
        """There is no grace to end, and the next one is waited for."""
        world.dispatcher.end_grace()
        world.put(message())
        world.pass_time(0.1)
        assert len(world.targets.received) == 1
        world.targets.scripts["/slow"] = [5.0, *http(200)]
        world.put(message(url="/slow"))
        world.pass_time(0.1)
        stopped = stop(world)
        world.pass_time(4.0)
        assert stopped == []
        world.pass_time(2.0)
        assert stopped == [None]
        assert world.database.records == {}

    def test_what_a_late_claim_brings_is_put_back(self):
        """A claim that was under way when the stop came calls nothing."""
        world = World().start()
        world.workers.seconds = 0.1
        world.put(*messages(5))
        world.clock.advance(0.01)
        stopped = stop(world)
        world.pass_time(2)
        assert stopped == [None]
        assert world.targets.received == []
        assert {(record.state, record.attempt) for record in world.database.records.values()} == {("ready", 0)}

    def test_a_store_that_is_away_does_not_keep_the_process(self, world):
        """What cannot be written down within its time is left for a rescue, and told."""
        world.put(*messages(3))
        world.store.failing = StoreUnavailable("memory", "away")
        world.clock.advance(0)
        world.pass_time(1)
        stopped = stop(world)
        world.pass_time(25, step=0.05)
        assert stopped == [None]
        assert any(event.doing == "leave" for event in world.told(events.StoreFailed))


class TestUpstream:
    def test_servers_are_used_in_turn(self):
        """Each server of `app` has its share."""
        world = World(Settings(bell="none", listen="none", app_urls=("http://a:1", "http://b:2/base"))).start()
        world.put(*messages(10, url="/x"))
        world.pass_time(0.1)
        called = [(received.server, received.path) for received in world.targets.received]
        assert called.count(("a:1", "/x")) == called.count(("b:2", "/base/x")) == 5

    @pytest.mark.parametrize("delivery", list(Delivery))
    def test_a_server_that_refuses_is_left_out_at_no_cost(self, delivery):
        """The call goes to the next server at once, `once` included, and the origin is not held."""
        world = World(Settings(bell="none", listen="none", app_urls=("http://a:1", "http://b:2"))).start()
        world.targets.refusing.add("a:1")
        world.put(*messages(10, delivery=delivery))
        world.pass_time(0.1)
        assert [received.server for received in world.targets.received] == ["b:2"] * 10
        assert {type(event.outcome) for event in world.told(events.Settled)} == {Delivered}
        assert world.told(events.TargetHeld) == []
        [left_out] = world.told(events.ServerLeftOut)
        assert (left_out.upstream, left_out.server) == ("app", "http://a:1")

    def test_a_server_that_was_called_is_not_failed_over(self):
        """After the first byte the effect is unknown: the next attempt is a new call."""
        world = World(Settings(bell="none", listen="none", app_urls=("http://a:1", "http://b:2"))).start()
        world.targets.scripts["/x"] = http(500)
        world.put(message(url="/x"))
        world.pass_time(0.1)
        assert len(world.targets.received) == 1

    def test_all_servers_gone_hold_the_origin(self):
        """Messages wait in the store at no cost, and go on when one server is back."""
        world = World(Settings(bell="none", listen="none", app_urls=("http://a:1", "http://b:2"))).start()
        world.targets.refusing |= {"a:1", "b:2"}
        world.put(*messages(5))
        world.pass_time(20, step=0.02)
        assert {(one.state, one.attempt) for one in world.database.records.values()} == {("ready", 0)}
        assert {event.origin for event in world.told(events.TargetHeld)} == {"app"}
        world.targets.refusing.discard("b:2")
        world.pass_time(31, step=0.02)
        assert [received.server for received in world.targets.received] == ["b:2"] * 5

    def test_an_unknown_upstream_is_a_bad_target(self, world):
        """A dead letter says so."""
        world.put(message(upstream="unknown"))
        world.pass_time(0.1)
        [settled] = world.told(events.Settled)
        assert settled.outcome.reason is Reason.BAD_TARGET

    def test_a_connection_error_of_another_kind_fails_over_too(self):
        """Whatever keeps us from connecting."""
        world = World(Settings(bell="none", listen="none", app_urls=("http://a:1", "http://b:2"))).start()
        world.targets.failing["a:1"] = OSError(24, "Too many open files")
        world.put(message())
        world.pass_time(0.1)
        assert [received.server for received in world.targets.received] == ["b:2"]


class TestReload:
    def test_what_can_change_does(self, world):
        """Concurrency, servers, deadlines and delivery rules; without dropping what is in flight."""
        world.targets.scripts["/slow"] = [5.0, *http(200)]
        world.put(message(url="/slow"))
        world.pass_time(0.1)
        world.dispatcher.reload(
            replace(world.settings, concurrency=2, app_urls=("http://new:1",), success="ap4r", timeout_seconds=1.0)
        )
        world.put(*messages(5, url="/slow"))
        world.pass_time(0.1)
        assert [received.server for received in world.targets.received] == ["127.0.0.1:8000", "new:1"]
        world.pass_time(1.5)
        assert world.told(events.CallEnded)[0].outcome.failure.reason is Reason.TIMEOUT
        assert world.told(events.DispatcherReloaded) == [events.DispatcherReloaded(("memory",))]
        assert world.told(events.RestartNeeded) == []

    def test_no_connection_is_dropped_for_a_change_of_servers(self):
        """Those of servers that stay are used on; a call to one that goes ends where it is."""

        def of(*servers):
            table = {"web": {"servers": [{"url": url, "weight": weight} for url, weight in servers]}}
            return parse_settings({"bell": "none", "listen": "none", "upstreams": table}, {}, {}, "/nowhere")

        here = World(of(("http://stays", 1), ("http://goes", 1))).start()
        here.targets.scripts["/slow"] = lambda got: [1.0, *http(200)] if got.server == "goes:80" else http(200)
        here.put(*messages(2, upstream="web", url="/slow"))
        here.pass_time(0.1)
        assert {received.server for received in here.targets.received} == {"stays:80", "goes:80"}
        here.dispatcher.reload(of(("http://stays", 3), ("http://comes", 1)))
        here.put(*messages(4, upstream="web"))
        here.pass_time(2)
        connections = {received.server: received.connection for received in here.targets.received[:2]}
        later = [received for received in here.targets.received[2:] if received.server == "stays:80"]
        assert len(later) == 3
        assert connections["stays:80"] in {received.connection for received in later}
        assert {received.server for received in here.targets.received[2:]} == {"stays:80", "comes:80"}
        assert {type(told.outcome) for told in here.told(events.CallEnded)} == {Delivered}
        assert not here.targets.connections[connections["stays:80"]].lost

    def test_what_cannot_change_is_said(self, world):
        """The log names the settings that only a restart brings."""
        world.dispatcher.reload(replace(world.settings, store="sqlite:////other.db", bell="udp:7:interface=127.0.0.1"))
        assert world.told(events.RestartNeeded) == [events.RestartNeeded(("bell", "store"))]

    def test_what_needs_a_restart_is_reported_beside_what_the_dispatcher_started_with(self, world):
        """A change that is taken back before the restart needs none; one that remains is reported at each reload."""
        changed, more = replace(world.settings, listen="tcp:7"), replace(world.settings, listen="tcp:7", intake=False)
        for settings in (changed, changed, more, world.settings, world.settings):
            world.dispatcher.reload(settings)
        told = [event.settings for event in world.told(events.RestartNeeded)]
        assert told == [("listen",), ("listen",), ("intake", "listen")]

    def test_more_room_is_used_at_once(self):
        """No message waits for the next bell."""
        world = World(Settings(bell="none", listen="none", concurrency=1)).start()
        world.targets.scripts["/slow"] = [50.0, *http(200)]
        world.put(*messages(3, url="/slow"))
        world.pass_time(0.5)
        world.dispatcher.reload(replace(world.settings, concurrency=3))
        world.pass_time(0.1)
        assert len(world.targets.received) == 3


def test_expired_messages_are_not_called(world):
    """What came to its time too late is a dead letter."""
    world.targets.failing["late.example:80"] = ConnectionRefusedError()
    one = message(url="http://late.example/x", upstream=None, expires_seconds=3.0)
    world.put(one)
    world.pass_time(10, step=0.02)
    assert world.told(events.Settled)[-1].outcome.reason is Reason.EXPIRED
    assert world.targets.received == []


def test_facts(world):
    """What /healthz tells of a dispatcher that works."""
    world.targets.scripts["/slow"] = [5.0, *http(200)]
    world.targets.refusing.add("sick.example:80")
    world.put(message(url="/slow"), message(url="http://sick.example/", upstream=None))
    world.pass_time(0.1)
    facts = world.dispatcher.facts()
    assert facts["ok"]
    [store] = facts["stores"]
    assert (store["owner"], store["store"], store["state"]) == ("owner-1", "memory", "working")
    assert (facts["in_flight"], store["in_flight"], store["unsettled"]) == (1, 1, 0)
    assert list(facts["held"]) == ["http://sick.example"]


def test_facts_of_a_dispatcher_whose_loop_does_not_turn(world):
    """When claims or looks have failed for long, it is not well."""
    world.store.failing = StoreUnavailable("memory", "away")
    world.pass_time(10, step=0.1)
    assert world.dispatcher.facts()["ok"]
    world.pass_time(20, step=0.1)
    assert not world.dispatcher.facts()["ok"]
    world.store.failing = None
    world.pass_time(10, step=0.1)
    assert world.dispatcher.facts()["ok"]

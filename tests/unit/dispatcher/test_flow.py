"""Flow control in a whole dispatcher: whose word counts for what, and who waits for whom."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from ap4r.events import events
from ap4r.outcome.outcome import Delivered, PutBack
from ap4r.settings.settings import Settings
from tests.support.factories import message, messages
from tests.unit.dispatcher.world import CLOSE, RESET, World, http

SETTINGS = Settings(bell="none", listen="none")
LATER = http(503, b"", "Retry-After: 20")


def called(world: World, path: str) -> list[float]:
    """Return when a path was called."""
    return [received.at for received in world.targets.received if received.path == path]


class TestWhoseWord:
    @pytest.mark.parametrize("answer", [LATER, http(429, b"", "Retry-After: 20"), http(500, b"", "Retry-After: 20")])
    @pytest.mark.parametrize("servers", [("http://a:1",), ("http://a:1", "http://b:1")], ids=["one", "two"])
    def test_an_answer_holds_its_own_queue_and_no_other(self, answer, servers):
        """One job says "later": the others of the application go on at once, and it is tried when it said."""
        world = World(replace(SETTINGS, app_urls=servers, backoff_first_seconds=1.0, backoff_factor=1.0)).start()
        world.targets.scripts["/busy"] = answer
        world.put(*messages(5, "queue.busy", url="/busy"))
        world.pass_time(3)
        before = len(called(world, "/busy"))
        for _ in range(5):
            world.put(message("queue.b", url="/b"), message("queue.c", url="/c"))
            world.pass_time(1)
        assert [at % 1 < 0.1 for at in called(world, "/b") + called(world, "/c")] == [True] * 10
        world.put(*messages(20, "queue.busy", url="/busy"))
        world.pass_time(8)
        assert len(called(world, "/busy")) == before
        world.targets.scripts["/busy"] = http(200)
        world.pass_time(10)
        assert len(called(world, "/busy")) == before + 25
        assert world.told(events.TargetHeld) == world.told(events.TargetCut) == []
        held = world.told(events.QueueHeld)
        assert {(event.queue, event.origin) for event in held} == {("queue.busy", "app")}
        assert world.told(events.QueueReleased) == [events.QueueReleased("queue.busy", "app")]

    def test_a_queue_that_is_held_is_tried_each_half_minute(self):
        """A Retry-After of an hour is the message's; its queue is probed all the same."""
        world = World().start()
        world.targets.scripts["/busy"] = http(503, b"", "Retry-After: 3600")
        world.put(message("queue.busy", url="/busy"))
        world.pass_time(0.5)
        world.put(*messages(10, "queue.busy", url="/busy"))
        world.pass_time(125, step=0.05)
        times = called(world, "/busy")
        assert len(times) >= 5
        assert max(later - earlier for earlier, later in pairwise(times)) <= 30.5

    def test_a_connection_speaks_for_the_server(self):
        """Where none can be made, all of its queues wait; those of others do not."""
        world = World().start()
        world.targets.refusing.add("away.example:80")
        away = {"url": "http://away.example/x", "upstream": None}
        world.put(message("queue.a", **away))
        world.pass_time(0.1)
        world.put(message("queue.b", **away), message("queue.c", url="/c"))
        world.pass_time(0.5)
        assert world.targets.attempts.count("away.example:80") == 1
        assert len(called(world, "/c")) == 1

    def test_three_queues_of_a_server_cut_it_and_do_not_close_it(self):
        """A fourth goes on, with fewer calls at once, and soon with all."""
        world = World().start()
        for name in "abc":
            world.targets.scripts[f"/{name}"] = LATER
        world.targets.scripts["/d"] = [1.0, *http(200)]
        world.put(*messages(40, "queue.d", url="/d"))
        world.pass_time(0.1)
        world.put(*(message(f"queue.{name}", url=f"/{name}") for name in "abc"))
        world.pass_time(0.2)
        [cut] = world.told(events.TargetCut)
        assert cut.origin == "app"
        assert 1 <= cut.calls <= 21
        assert world.dispatcher.facts()["cut"] == {"app": pytest.approx(cut.calls, abs=2)}
        world.pass_time(0.8)
        world.put(*messages(100, "queue.d", url="/d"))
        world.pass_time(0.2)
        assert 0 < len(called(world, "/d")) - 40 <= cut.calls + 2
        world.pass_time(40, step=0.02)
        assert len(called(world, "/d")) == 140
        world.targets.scripts.clear()
        world.pass_time(60, step=0.05)
        assert world.dispatcher.facts()["cut"] == {}

    def test_one_queue_that_breaks_its_connections_holds_no_other(self):
        """A message that kills its worker is that message's fault."""
        world = World(replace(SETTINGS, backoff_first_seconds=1.0, backoff_factor=1.0)).start()
        world.targets.scripts["/kills"] = [RESET]
        world.put(*messages(3, "queue.kills", url="/kills"))
        for _ in range(20):
            world.put(message("queue.b", url="/b"))
            world.pass_time(0.5)
        assert len(called(world, "/b")) == 20
        assert world.told(events.TargetHeld) == []

    def test_a_proxy_whose_servers_are_gone_gets_fewer_calls(self):
        """Its 502 says nothing of a message or a queue."""
        world = World().start()
        world.targets.scripts["/b"] = http(502)
        world.put(*messages(40, "queue.b", url="/b"))
        world.pass_time(0.5)
        assert world.told(events.TargetCut)
        assert world.told(events.TargetHeld) == world.told(events.QueueHeld) == []

    def test_what_is_held_is_reported(self):
        """Since and until when, and why: to /healthz, and to the store for all who can read it."""
        world = World().start()
        world.targets.scripts["/busy"] = LATER
        world.targets.refusing.add("away.example:80")
        world.put(message("queue.busy", url="/busy"), message("q", url="http://away.example/", upstream=None))
        world.pass_time(0.5)
        facts = world.dispatcher.facts()
        assert facts["held_count"] == 2
        busy, away = facts["held"]["queue.busy at app"], facts["held"]["http://away.example"]
        assert (busy["queue"], busy["origin"], busy["why"]) == ("queue.busy", "app", "slow down 503")
        assert busy["since"].endswith("Z") and busy["until"] > busy["since"]
        assert 15.0 < busy["seconds"] < 20.0
        assert (away["queue"], away["why"]) == (None, "connect failed")
        [dispatcher] = world.store.status().dispatchers
        assert {(one.queue, one.origin, one.why) for one in dispatcher.held} == {
            ("queue.busy", "app", "slow down 503"),
            ("", "http://away.example", "connect failed"),
        }
        world.targets.scripts["/busy"] = http(200)
        world.targets.refusing.clear()
        world.pass_time(45, step=0.02)
        assert world.dispatcher.facts()["held"] == {}
        assert world.store.status().dispatchers[0].held == ()


class TestShares:
    SILENT = {"url": "http://silent.example/hang", "upstream": None}

    def test_a_server_that_never_answers_makes_no_other_wait(self):
        """A thousand messages to it: it has all calls there are, and others are called at once all the same."""
        world = World().start()
        world.targets.scripts["/hang"] = [100.0]
        world.put(*messages(1_000, "queue.silent", **self.SILENT))
        world.pass_time(1)
        assert len(called(world, "/hang")) == 64
        for second in range(1, 20):
            world.put(message("queue.b", url="/b"), message("queue.c", url="http://other.example/c", upstream=None))
            world.pass_time(1, step=0.01)
            assert len(called(world, "/b")) == len(called(world, "/c")) == second
        assert [at % 1 < 0.15 for at in called(world, "/b") + called(world, "/c")] == [True] * 38
        assert world.dispatcher.facts()["in_flight"] == 64

    def test_a_server_that_falls_silent_makes_no_other_wait(self):
        """It answered well a moment ago, and has messages at hand ahead of their calls."""
        world = World().start()
        world.targets.scripts["/hang"] = lambda got: http(200) if got.at < 1.0 else [100.0]
        for _ in range(10):
            world.put(*messages(200, "queue.silent", **self.SILENT))
            world.pass_time(0.2)
        world.put(message("queue.b", url="/b"))
        world.pass_time(1.5)
        assert len(called(world, "/b")) == 1

    def test_who_is_due_comes_before_who_has_a_share(self):
        """What becomes free goes to the others first; a slow server with a long queue gets what they leave."""
        world = World().start()
        world.targets.scripts["/hang"] = [2.0, *http(200)]
        world.targets.scripts["/b"] = [0.5, *http(200)]
        world.put(*messages(500, "queue.slow", **self.SILENT))
        world.pass_time(1)
        world.put(*messages(300, "queue.b", url="/b"))
        world.pass_time(6, step=0.01)
        assert len(called(world, "/b")) == 300
        world.pass_time(20, step=0.02)
        assert len(called(world, "/hang")) == 500
        assert {type(event.outcome) for event in world.told(events.Settled)} <= {Delivered, PutBack}

    def test_beside_others_the_limit_is_passed_by_a_share_at_most(self):
        """Several silent servers have the calls of the limit, and a quarter more; never without end."""
        world = World().start()
        world.targets.scripts["/hang"] = [100.0]
        for number in range(8):
            world.put(*messages(100, "queue.silent", url=f"http://s{number}.example/hang", upstream=None))
            world.pass_time(0.5)
        assert world.dispatcher.facts()["in_flight"] == 80


class TestForgetting:
    def test_hosts_that_are_gone_leave_nothing(self):
        """When their messages have expired, nothing is known of them, and claims name them no more."""
        world = World().start()
        for number in range(300):
            world.targets.refusing.add(f"h{number}.example:80")
        world.put(
            *(
                message("dead", url=f"http://h{number}.example/", upstream=None, expires_seconds=20.0)
                for number in range(300)
            )
        )
        world.pass_time(5, step=0.05)
        facts = world.dispatcher.facts()
        assert facts["held_count"] > 250
        assert len(facts["held"]) == 50
        world.pass_time(120, step=0.1)
        facts = world.dispatcher.facts()
        assert (facts["held_count"], facts["held"]) == (0, {})
        limit, [worker] = world.dispatcher._limit, world.dispatcher.workers
        assert len(limit.holds) == 0
        assert worker._claims._flow.lanes.excluded() == frozenset()


def test_a_connection_that_is_closed_is_no_hold():
    """The server was reached: that the call failed is the message's affair."""
    world = World().start()
    world.targets.scripts["/x"] = [CLOSE]
    world.put(message(url="/x"))
    world.pass_time(0.5)
    assert world.told(events.TargetHeld) == []

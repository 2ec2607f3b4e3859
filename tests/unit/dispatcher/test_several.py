"""Several stores in one dispatcher: what they share, and that the troubles of one are not the others'."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.http_server.health import Healthz, StoreFigures
from ap4r.errors import OwnerLost, StoreUnavailable
from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Reason
from ap4r.settings.settings import Settings
from tests.support.factories import message, messages
from tests.support.factories import put as put_into
from tests.unit.dispatcher.test_health import DummyRequest, answer
from tests.unit.dispatcher.world import World, http

SLOW = [50.0, *http(200)]


def several(count=2, **settings):
    """Return a dispatcher of so many stores that has started."""
    return World(Settings(bell="none", listen="none", **settings), others=count - 1).start()


def put(world, number, *given):
    """Store messages in one of the stores, and ring."""
    put_into(world.stores[number], *given, now=None)
    world.ring()


def held(world):
    """Return how many calls are in flight for each store."""
    return [worker.facts()["in_flight"] for worker in world.dispatcher.workers]


def test_all_are_drained():
    """One bell is heard for all of them, and each message is called once and gone from its own store."""
    world = several(3)
    for number in range(3):
        put_into(world.stores[number], *messages(20, url=f"/{number}"), now=None)
    world.ring()
    world.pass_time(0.5)
    assert sorted(world.targets.paths()) == sorted(f"/{number}" for number in range(3) for _ in range(20))
    assert [store.database.records for store in world.stores] == [{}, {}, {}]
    assert [event.store for event in world.told(events.DispatcherStarted)] == ["memory", "memory 1", "memory 2"]


def test_the_limit_is_of_all_together():
    """No more calls are in flight than `concurrency`, whosever they are."""
    world = several(3, concurrency=10)
    world.targets.scripts["/slow"] = SLOW
    for number in range(3):
        put(world, number, *messages(30, url="/slow"))
        world.pass_time(0.05)
    world.pass_time(2)
    assert len(world.targets.received) == sum(held(world)) == 10


def test_a_busy_store_has_all_of_it_while_the_others_have_nothing():
    """No room lies idle."""
    world = several(3, concurrency=12)
    world.targets.scripts["/slow"] = SLOW
    put(world, 1, *messages(30, url="/slow"))
    world.pass_time(0.5)
    assert held(world) == [0, 12, 0]


def test_two_with_work_come_to_the_same():
    """The one that came first yields what ends until both have their share."""
    world = several(2, concurrency=8)
    world.targets.scripts["/slow"] = [0.2, *http(200)]
    put(world, 0, *messages(400, url="/slow"))
    world.pass_time(0.1)
    assert held(world) == [8, 0]
    put(world, 1, *messages(400, url="/slow"))
    world.pass_time(1)
    assert held(world) == [4, 4]
    world.pass_time(4)
    left = [len(store.database.records) for store in world.stores]
    assert left[1] - left[0] <= 40
    assert len(world.targets.received) >= 8 * 5 * 4


def test_with_one_call_at_a_time_they_take_turns():
    """Even where there is less to share than there are stores, each comes to its turn."""
    world = several(3, concurrency=1)
    world.targets.scripts.update({f"/{number}": [0.1, *http(200)] for number in range(3)})
    for number in range(3):
        put(world, number, *messages(40, url=f"/{number}"))
    world.pass_time(6)
    counts = [world.targets.paths().count(f"/{number}") for number in range(3)]
    assert min(counts) >= 10 and max(counts) <= 2 * min(counts)


@pytest.mark.parametrize("how", ["away", "stuck", "slow"])
def test_a_failing_store_delays_no_other(how):
    """The other store's messages are called at once, nearly all of the concurrency theirs."""
    world = several(2, concurrency=64)
    put(world, 0, *messages(200, url="/held"))
    world.targets.scripts["/held"] = SLOW
    world.pass_time(0.1)
    world.targets.received.clear()
    if how == "away":
        world.store.failing = StoreUnavailable("memory", "away")
    elif how == "stuck":
        world.workers.stuck = True
    else:
        world.workers.seconds = 4.0
    world.pass_time(55, step=0.05)  # the calls that it had have ended, or were cut
    world.targets.received.clear()
    for _ in range(50):
        put(world, 1, *messages(10, url="/b"))
        world.pass_time(0.02)
    assert world.targets.paths().count("/b") >= 490
    assert world.stores[1].database.records.keys() == set() or len(world.stores[1].database.records) <= 10


@pytest.mark.parametrize("how", ["away", "stuck"])
def test_one_that_comes_back_is_drained_again(how):
    """And what the other did in the meantime was not waited for."""
    world = several()
    world.pass_time(1)
    if how == "away":
        world.store.failing = StoreUnavailable("memory", "away")
    else:
        world.workers.stuck = True
    put_into(world.stores[1], *messages(5, url="/b"), now=None)
    world.ring()
    world.pass_time(30, step=0.05)
    assert world.targets.paths() == ["/b"] * 5
    assert next(event.store for event in world.told(events.StoreFailed)) == "memory"
    world.store.failing = None
    world.workers.let_go()
    put_into(world.store, *messages(5, url="/a"), now=None)
    world.pass_time(15, step=0.05)
    assert world.targets.paths()[5:] == ["/a"] * 5
    assert [event.store for event in world.told(events.StoreRecovered)] == ["memory"]


def test_one_that_is_away_from_the_start():
    """The dispatcher begins with the others."""
    world = World(Settings(bell="none", listen="none"), others=1)
    world.store.failing = StoreUnavailable("memory", "away")
    world.start()
    put(world, 1, message(url="/b"))
    world.pass_time(1)
    assert world.targets.paths() == ["/b"]
    assert [store["state"] for store in world.dispatcher.facts()["stores"]] == ["waiting for the store", "working"]


def test_calls_are_cut_for_the_store_that_is_lost_only():
    """Whose messages may be others' by now is dropped; the other store's calls go on."""
    world = several()
    world.targets.scripts["/slow"] = [20.0, *http(200)]
    put(world, 0, message(url="/slow"))
    put(world, 1, message(url="/slow"))
    world.pass_time(0.1)
    world.store.failing = OwnerLost("owner-1")
    world.pass_time(6, step=0.05)
    assert held(world) == [0, 1]
    world.pass_time(15, step=0.05)
    assert world.stores[1].database.records == {}


def test_a_held_target_is_held_for_all():
    """What one store's message met holds the other's back, and the first answer releases both."""
    world = several()
    world.targets.refusing.add("sick.example:80")
    sick = {"url": "http://sick.example/x", "upstream": None}
    put(world, 0, *messages(3, **sick))
    world.pass_time(0.1)
    tried = len(world.targets.attempts)
    put(world, 1, *messages(3, **sick))
    world.pass_time(0.3)
    assert len(world.targets.attempts) == tried
    world.targets.refusing.clear()
    world.pass_time(6)
    assert world.targets.paths() == ["/x"] * 6


def test_a_stop_ends_all_and_one_that_does_not_answer_holds_up_no_other():
    """Calls end and are settled in the store that answers, while the other is given up after its deadline."""
    world = several(2, grace_seconds=5.0)
    world.targets.scripts["/slow"] = [3.0, *http(200)]
    put(world, 0, message(url="/slow", delivery=Delivery.ONCE))
    put(world, 1, message(url="/slow"))
    world.pass_time(0.1)
    world.workers.stuck = True
    stopped: list[object] = []
    world.dispatcher.stopService().addBoth(stopped.append)
    world.pass_time(4)
    assert world.stores[1].database.records == {} and world.stores[1].database.members == {}
    assert [event.store for event in world.told(events.DispatcherStopped)] == ["memory 1"]
    world.pass_time(40, step=0.1)
    assert stopped == [None]
    assert world.clock.getDelayedCalls() == []


def test_a_second_signal_ends_the_grace_of_all():
    """Every call in flight is cut, whosever it is."""
    world = several(2, grace_seconds=60.0)
    world.targets.scripts["/slow"] = SLOW
    for number in range(2):
        put(world, number, message(url="/slow", delivery=Delivery.ONCE))
    world.pass_time(0.1)
    stopped: list[object] = []
    world.dispatcher.stopService().addBoth(stopped.append)
    world.pass_time(1)
    world.dispatcher.end_grace()
    world.pass_time(1)
    assert stopped == [None]
    outcomes = [event.outcome for event in world.told(events.Settled)]
    assert [type(outcome) for outcome in outcomes] == [Dead, Dead]
    assert {outcome.reason for outcome in outcomes} == {Reason.UNKNOWN}


def test_the_health_page_says_which_one_is_in_trouble():
    """503 where one of them is, with its name and its problem; the others are listed in full."""
    world = several()
    world.pass_time(1)
    page = Healthz(
        world.dispatcher.facts, [StoreFigures(worker.store, world.clock) for worker in world.dispatcher.workers]
    )

    def ask():
        request = DummyRequest([b"healthz"])
        request.method = b"GET"
        page.render(request)
        return answer(request)

    status, facts = ask()
    assert (status, [store["ok"] for store in facts["stores"]]) == (200, [True, True])
    world.stores[1].failing = StoreUnavailable("memory 1", "the disk is full")
    world.pass_time(6, step=0.05)
    status, facts = ask()
    well, ill = facts["stores"]
    assert (status, facts["ok"], well["ok"], ill["ok"]) == (503, False, True, False)
    assert (ill["store"], ill["problem"], ill["due"]) == ("memory 1", "the disk is full", None)
    assert (well["problem"], well["due"]["ready"]) == (None, 0)
    world.stores[1].failing = None
    world.pass_time(10, step=0.05)
    assert ask()[0] == 200


def test_settings_that_are_read_again_are_those_of_all():
    """A shorter timeout holds for the messages of each store."""
    world = several()
    world.targets.scripts["/slow"] = SLOW
    world.dispatcher.reload(Settings(bell="none", listen="none", timeout_seconds=1.0))
    for number in range(2):
        put(world, number, message(url="/slow"))
    world.pass_time(2)
    assert [event.outcome.failure.reason for event in world.told(events.Settled)] == [Reason.TIMEOUT] * 2

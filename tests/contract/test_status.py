"""status: the figures a person asks for."""

from __future__ import annotations

import pytest

from ap4r.outcome.outcome import Delivered, PutBack, RetryLater
from ap4r.storage.operations.status import StatusQueries
from ap4r.storage.store import COUNT_LIMIT, Held, StoreStatus, TurnedAwayQueue
from tests.support.factories import (
    NOW,
    bury,
    claim,
    claimed,
    counts,
    counts_of,
    dead,
    dispatcher,
    failure,
    message,
    messages,
    put,
    retry,
    settle,
)


def test_an_empty_store(store):
    """No message waits, and there is no dispatcher."""
    assert store.status(now=NOW) == StoreStatus()


def test_every_state_is_counted(store):
    """A queue's figures tell what is ready, scheduled, leased and dead."""
    bury(store, *messages(4))
    put(store, *messages(3))
    claim(store, dispatcher(store))
    put(store, *messages(2), message(delay_seconds=60))
    assert counts(store) == (2, 1, 3, 4)


def test_queues_are_counted_apart(store):
    """Each queue has its own figures, in the order of their names; what was delivered leaves none."""
    put(store, *messages(2, "queue.b"), *messages(3, "queue.a"), message("queue.c"))
    owner = dispatcher(store)
    [lease] = [lease for lease in claim(store, owner) if lease.message.queue == "queue.c"]
    settle(store, (lease, Delivered()))
    assert [(figures.queue, counts_of(figures)) for figures in store.status(now=NOW).queues] == [
        ("queue.a", (0, 0, 3, 0)),
        ("queue.b", (0, 0, 2, 0)),
    ]


def test_lanes_of_a_queue_are_one_queue(store):
    """A queue that goes to several targets has one line."""
    targets = [message(url=f"http://{name}.example/", upstream=None) for name in "abc"]
    put(store, *targets, message())
    [figures] = store.status(now=NOW).queues
    assert counts_of(figures) == (4, 0, 0, 0)


class TestAges:
    def test_the_age_of_what_waits_longest(self, store):
        """The figure is the age of the oldest due message, of its queue and of the store."""
        put(store, message("queue.a"))
        put(store, message("queue.b"), now=NOW + 40)
        status = store.status(now=NOW + 100)
        assert {figures.queue: figures.oldest_due_seconds for figures in status.queues} == {
            "queue.a": pytest.approx(100.0),
            "queue.b": pytest.approx(60.0),
        }
        assert status.oldest_due_seconds == pytest.approx(100.0)

    def test_what_is_not_due_has_no_age(self, store):
        """Scheduled, leased and dead messages wait for no dispatcher."""
        bury(store, message())
        claimed(store, message())
        put(store, message(delay_seconds=500))
        status = store.status(now=NOW + 100)
        assert [figures.oldest_due_seconds for figures in status.queues] == [0.0]
        assert status.oldest_due_seconds == 0.0

    def test_a_delay_is_no_waiting(self, store):
        """A delayed message waits from the instant at which it fell due, noticed by a dispatcher or not."""
        put(store, message(delay_seconds=30))
        status = store.status(now=NOW + 100)
        assert status.oldest_due_seconds == pytest.approx(70.0)
        assert counts(store, now=NOW + 100) == (1, 0, 0, 0)
        owner = dispatcher(store)
        [lease] = claim(store, owner, now=NOW + 100)
        settle(store, (lease, PutBack()), now=NOW + 100)
        assert store.status(now=NOW + 110).oldest_due_seconds == pytest.approx(80.0)

    def test_due_and_not_due_are_distinguished(self, store):
        """Of messages that were scheduled alike, those whose time has come are ready."""
        put(store, *messages(2, delay_seconds=30), *messages(3, delay_seconds=300))
        assert counts(store, now=NOW + 100) == (2, 3, 0, 0)

    def test_a_retry_waits_from_its_own_due_time(self, store):
        """A message that is to be repeated waits from the instant of its repeat, not from its first try."""
        lease = claimed(store, message())
        settle(store, (lease, retry(1_000.0)))
        assert store.status(now=NOW + 1_010).oldest_due_seconds == pytest.approx(10.0)

    def test_a_replay_hides_nothing_older(self, store):
        """What was put back at the front has waited since then; what stands behind it may have waited longer."""
        one = message()
        bury(store, one)
        store.replay([one.id], now=NOW + 50)
        assert store.status(now=NOW + 60).oldest_due_seconds == pytest.approx(10.0)
        put(store, message(), now=NOW + 20)
        assert store.status(now=NOW + 60).oldest_due_seconds == pytest.approx(40.0)


class TestDispatchers:
    def test_a_dispatcher_and_what_it_holds(self, store):
        """Each dispatcher is listed with its leases and its last heartbeat."""
        put(store, *messages(5))
        store.register("owner", "host:1", "1.2.3", "udp://127.0.0.1:9", now=NOW)
        claim(store, "owner", 3, now=NOW + 2)
        dispatcher(store, "idle", now=NOW + 4)
        first, second = store.status(now=NOW + 5).dispatchers
        assert (first.owner, first.name, first.version, first.leased) == ("owner", "host:1", "1.2.3", 3)
        assert first.seen_seconds == pytest.approx(3.0)
        assert (second.owner, second.leased) == ("idle", 0)
        assert first.alive and second.alive

    def test_a_silent_dispatcher_is_not_alive(self, store):
        """An idle dispatcher beats each 30 s: one that was not seen for a minute is not alive.

        One that holds messages beats each 5 s, so its beat is the sooner too old: when others take its messages.
        """
        put(store, message())
        dispatcher(store, "busy")
        claim(store, "busy", 1, now=NOW)
        assert [one.alive for one in store.status(now=NOW + 14).dispatchers] == [True]
        assert [one.alive for one in store.status(now=NOW + 16).dispatchers] == [False]
        store.unregister("busy", now=NOW)
        dispatcher(store)
        assert [one.alive for one in store.status(now=NOW + 35).dispatchers] == [True]
        assert [one.alive for one in store.status(now=NOW + 60).dispatchers] == [False]

    def test_an_unregistered_dispatcher_is_not_listed(self, store):
        """A dispatcher that has left is gone from the figures."""
        dispatcher(store)
        store.unregister("one", now=NOW)
        assert store.status(now=NOW).dispatchers == ()


class TestHeld:
    HELD = (Held("queue.a", "app", 12.0, 8.0, "slow down 503"), Held("", "http://away.example", 3.0, 30.0, "refused"))

    def test_what_a_dispatcher_holds_is_reported_with_it(self, store):
        """Since and until when by the store's clock, so that it is right later too."""
        dispatcher(store)
        dispatcher(store, "two")
        store.report_held("one", self.HELD, now=NOW)
        told = {one.owner: one.held for one in store.status(now=NOW + 5).dispatchers}
        assert told["two"] == ()
        first, second = told["one"]
        assert (first.queue, first.origin, first.why) == ("queue.a", "app", "slow down 503")
        assert (first.since_seconds, first.until_seconds) == pytest.approx((17.0, 3.0))
        assert (second.queue, second.until_seconds) == ("", pytest.approx(25.0))
        later = {one.owner: one.held for one in store.status(now=NOW + 60).dispatchers}
        assert later["one"][0].until_seconds == 0.0

    def test_the_last_word_holds(self, store):
        """Nothing held is nothing told; and of who is unknown nothing is kept."""
        dispatcher(store)
        store.report_held("one", self.HELD, now=NOW)
        store.report_held("one", (), now=NOW + 1)
        store.report_held("unknown", self.HELD, now=NOW + 1)
        [told] = store.status(now=NOW + 1).dispatchers
        assert (told.owner, told.held) == ("one", ())

    def test_a_beat_keeps_it(self, store):
        """Also a claim."""
        dispatcher(store)
        store.report_held("one", self.HELD, now=NOW)
        store.beat("one", now=NOW + 1)
        claim(store, "one", now=NOW + 2)
        assert len(store.status(now=NOW + 2).dispatchers[0].held) == 2


class TestTurnedAway:
    def test_who_waits_for_settings_is_named(self, store):
        """Queues whose waiting messages were answered 401 or 403 last; no other failures."""
        put(store, *messages(2, "queue.a"), message("queue.b"), message("queue.c"))
        owner = dispatcher(store)
        status = {"queue.a": 403, "queue.b": 401, "queue.c": 500}
        settle(
            store,
            *(
                (lease, RetryLater(failure(status=status[lease.message.queue]), 60.0, False))
                for lease in claim(store, owner)
            ),
        )
        assert store.status(now=NOW + 1).turned_away == (
            TurnedAwayQueue("queue.a", "app", 403, 2),
            TurnedAwayQueue("queue.b", "app", 401, 1),
        )

    def test_the_last_answer_counts(self, store):
        """A message that failed otherwise since does not wait for settings."""
        put(store, message())
        owner = dispatcher(store)
        for second, status in ((0, 403), (20, 500)):
            [lease] = claim(store, owner, now=NOW + second)
            settle(store, (lease, RetryLater(failure(status=status), 10.0, False)), now=NOW + second)
        assert store.status(now=NOW + 21).turned_away == ()


def marked(queue):
    """Return a queue's counts, and which of them are not exact."""
    return counts_of(queue), queue.at_least


class TestLimits:
    """What is not counted to its end says so; what is one less than that is exact."""

    LIMIT = 5

    @pytest.fixture
    def limited(self, shared, opened):
        """Return a store that counts no further than five."""
        store = opened(shared)()
        store._figures = StatusQueries(store._schema, self.LIMIT)
        return store

    @pytest.mark.parametrize("state", ["ready", "scheduled", "due", "dead"])
    @pytest.mark.parametrize("more", [0, 1, 7])
    def test_each_count(self, limited, state, more):
        """The lanes before and behind it are exact all the same."""
        delay_seconds = {"scheduled": 60, "due": 0.5}.get(state, 0)
        for queue, number in (("a", 1), ("b", self.LIMIT + more), ("c", 1)):
            put(limited, *messages(number, queue, delay_seconds=delay_seconds))
        if state == "dead":
            owner = dispatcher(limited)
            while leases := claim(limited, owner):
                settle(limited, *((lease, dead()) for lease in leases))
        name = {"due": "ready"}.get(state, state)
        before, most, behind = limited.status(now=NOW + 1).queues
        assert [before.queue, most.queue, behind.queue] == ["a", "b", "c"]
        assert (getattr(most, name), most.at_least) == (self.LIMIT, (name,) if more else ())
        for queue in (before, behind):
            assert (getattr(queue, name), queue.at_least) == (1, ())

    def test_what_is_due_and_what_is_later(self, limited):
        """Of one queue both are counted by themselves."""
        put(limited, *messages(3, "a", delay_seconds=0.5), *messages(20, "a", delay_seconds=60))
        put(limited, *messages(2, "b", delay_seconds=0.5), *messages(2, "b", delay_seconds=90))
        many, few = limited.status(now=NOW + 1).queues
        assert marked(many) == ((3, self.LIMIT, 0, 0), ("scheduled",))
        assert marked(few) == ((2, 2, 0, 0), ())

    def test_a_dead_dispatcher_that_was_not_rescued_yet(self, limited):
        """Where more is due than is counted, nothing is called exact that is not."""
        put(limited, *messages(20, "a", delay_seconds=0.5), *messages(20, "a", delay_seconds=60))
        put(limited, *messages(2, "b", delay_seconds=0.6))
        many, few = limited.status(now=NOW + 1).queues
        assert marked(many) == ((self.LIMIT, self.LIMIT, 0, 0), ("ready", "scheduled"))
        assert marked(few) == ((0, 0, 0, 0), ("ready", "scheduled"))

    def test_several_lanes_of_a_queue(self, limited):
        """They are one figure."""
        for host in ("one", "two", "three"):
            put(limited, *messages(2, "a", url=f"http://{host}.test/", upstream=None))
        [queue] = limited.status(now=NOW).queues
        assert marked(queue) == ((self.LIMIT, 0, 0, 0), ("ready",))


@pytest.mark.slow
def test_counts_are_bounded(shared, opened):
    """Counting stops at a limit, so that figures cost the same however many messages wait, and they say so."""
    store = opened(shared)()
    for _ in range(COUNT_LIMIT // 1_000 + 1):
        put(store, *messages(1_000), *messages(1_000, "queue.b", delay_seconds=60))
    ready, later = store.status(now=NOW).queues
    assert marked(ready) == ((COUNT_LIMIT, 0, 0, 0), ("ready",))
    assert marked(later) == ((0, COUNT_LIMIT, 0, 0), ("scheduled",))

"""put: all or nothing, once, and whatever was put comes out as it went in."""

from __future__ import annotations

import time

import pytest

from ap4r.errors import StoreUnavailable
from ap4r.message.message import Delivery, Put, new_id
from ap4r.outcome.outcome import Delivered
from tests.support.factories import (
    NOW,
    bury,
    claim,
    claimed,
    counts,
    dead,
    dispatcher,
    ids,
    message,
    messages,
    put,
    retry,
    settle,
)

ALL_BYTES = bytes(range(256))
#: Beside plain text: quotes, a percent sign, two letters that look alike, and characters of two to four bytes in UTF-8.
TEXT = "naïve-Ünïcödé %s 'q' \"d\" ; -- Ω 日本 🦊\U0001d4b3"


def claimed_message(store, described, now=NOW):
    """Store a message and return it as the dispatcher gets it."""
    return claimed(store, described, now=now).message


class TestOnce:
    def test_a_put_is_claimed_once(self, store):
        """A message that was put is given to one claim and to no second."""
        one = message()
        put(store, one)
        owner = dispatcher(store)
        assert ids(claim(store, owner)) == [one.id]
        assert claim(store, owner) == []

    def test_a_repeat_changes_nothing(self, store):
        """The same put again, at once, is one delivery."""
        made = put(store, message(), message())
        store.put(made, now=NOW + 1)
        assert counts(store) == (2, 0, 0, 0)

    @pytest.mark.parametrize("seconds", [0, 1, 899])
    def test_a_repeat_after_delivery_changes_nothing(self, store, seconds):
        """Put, lose the answer, claim, settle, put again: one delivery."""
        made = put(store, message())
        owner = dispatcher(store)
        [lease] = claim(store, owner)
        settle(store, (lease, Delivered()))
        store.put(made, now=NOW + seconds)
        assert claim(store, owner, now=NOW + seconds) == []

    def test_a_repeat_is_recognised_after_pruning(self, store):
        """Pruning within `put_memory_seconds` forgets no put."""
        made = put(store, message())
        [lease] = claim(store, dispatcher(store))
        settle(store, (lease, Delivered()))
        store.prune(now=NOW + 899)
        store.put(made, now=NOW + 899)
        assert counts(store) == (0, 0, 0, 0)

    def test_a_repeat_is_recognised_by_every_store_of_the_database(self, store, open_store):
        """Who repeats a put need not be who made it."""
        made = put(store, message())
        open_store().put(made, now=NOW)
        assert counts(store) == (1, 0, 0, 0)

    @pytest.mark.parametrize("state", ["ready", "scheduled", "leased", "dead"])
    def test_a_message_that_is_stored_is_not_stored_again(self, store, state):
        """A message's id under another put changes nothing, whatever state it is in; its neighbours are stored."""
        one = message()
        if state == "dead":
            bury(store, one)
        else:
            put(store, one)
        if state in ("scheduled", "leased"):
            [lease] = claim(store, dispatcher(store))
            if state == "scheduled":
                settle(store, (lease, retry()))
        before = counts(store)
        put(store, message("queue.b"), one._replace(body=b"another"))
        assert counts(store) == before
        assert counts(store, "queue.b") == (1, 0, 0, 0)

    def test_a_message_twice_in_one_put_is_stored_once(self, store):
        """The first of two messages of one id in a put is stored."""
        one = message(body=b"first")
        put(store, one, message("queue.b"), one._replace(body=b"second"))
        assert counts(store) == (1, 0, 0, 0)
        assert [lease.message.body for lease in claim(store, dispatcher(store)) if lease.message.id == one.id] == [
            b"first"
        ]

    def test_ids_are_distinguished_to_the_last_digit(self, store):
        """Ids that differ in one digit are two messages, and their letters' case does not matter."""
        first = new_id()
        second = first[:-1] + ("0" if first[-1] != "0" else "1")
        put(store, message(id=first), message(id=second), message(id=first.upper()))
        assert sorted(ids(claim(store, dispatcher(store)))) == sorted([first, second])


class TestAllOrNone:
    def test_an_empty_put_stores_nothing(self, store):
        """A put without messages is no error and may be repeated."""
        made = Put(new_id(), ())
        store.put(made, now=NOW)
        store.put(made, now=NOW)
        assert store.status(now=NOW).queues == ()

    def test_a_thousand_messages_in_one_put(self, store):
        """What one request may hold is stored together."""
        described = messages(1_000)
        put(store, *described)
        assert sorted(ids(claim(store, dispatcher(store), 1_000))) == sorted(one.id for one in described)

    def test_a_put_that_fails_leaves_nothing_behind(self, store):
        """One message that cannot be stored keeps all others of its put out, its own lane included."""
        bad = message("queue.bad", id="this is no id")
        with pytest.raises((ValueError, StoreUnavailable)):
            put(store, *messages(3), bad)
        assert store.status(now=NOW).queues == ()
        put(store, message("queue.bad"))
        [lease] = claim(store, dispatcher(store))
        assert store.lanes([lease.lane]) == {lease.lane: ("queue.bad", "app")}

    def test_a_put_that_failed_may_be_repeated(self, store):
        """A put that failed is not remembered as one that was stored."""
        one = message()
        with pytest.raises((ValueError, StoreUnavailable)):
            store.put(Put(one.id, (one, message(id="this is no id"))), now=NOW)
        store.put(Put(one.id, (one,)), now=NOW)
        assert counts(store) == (1, 0, 0, 0)

    def test_a_bad_put_harms_no_other(self, store):
        """After a put that failed the store is as good as before."""
        put(store, message())
        with pytest.raises((ValueError, StoreUnavailable)):
            store.put(Put("this is no id", tuple(messages(1))), now=NOW)
        put(store, message())
        assert counts(store) == (2, 0, 0, 0)


class TestContent:
    def test_everything_comes_out_as_it_went_in(self, store):
        """Each field that a call needs is given back unchanged."""
        one = message(
            "queue.search.reindex",
            url="http://localhost:8080/some%20servlet?a=1&b=%C3%A9",
            upstream=None,
            method="PATCH",
            headers=(
                ("Content-Type", "text/plain; charset=utf-8"),
                ("X-Empty", ""),
                ("X-Twice", "1"),
                ("X-Twice", "2"),
            ),
            body=b"a=1",
            protocol="http",
            delivery=Delivery.ONCE,
            max_deliveries=3,
            timeout_seconds=1.5,
            trace_id="0af7651916cd43dd8448eb211c80319c",
        )
        assert claimed_message(store, one) == one

    def test_what_is_left_to_the_settings_stays_so(self, store):
        """None is not turned into a value."""
        found = claimed_message(store, message())
        assert (found.max_deliveries, found.timeout_seconds, found.trace_id) == (None, None, None)

    @pytest.mark.parametrize("delivery", list(Delivery))
    def test_every_delivery_rule(self, store, delivery):
        """The delivery rule is kept."""
        assert claimed_message(store, message(delivery=delivery)).delivery is delivery

    @pytest.mark.parametrize("body", [b"", b"\0", ALL_BYTES, ALL_BYTES[::-1], TEXT.encode(), b"\xff\xfe" * 3])
    def test_bodies_are_bytes(self, store, body):
        """All 256 values, none at all, and what only looks like text: a body comes out as it went in."""
        assert claimed_message(store, message(body=body)).body == body

    @pytest.mark.parametrize("size", [65_535, 65_536, 1_048_576])
    def test_large_bodies(self, store, size):
        """Neither 64 KiB nor 1 MiB is a border at which a body is cut."""
        body = (ALL_BYTES * (size // 256 + 1))[:size]
        assert claimed_message(store, message(body=body)).body == body

    def test_headers_of_every_script(self, store):
        """Header values are kept character by character, those of four bytes included."""
        headers = (("X-Name", TEXT), ("X-Control", "a\tb"), ("X-Long", "x" * 16_000))
        assert claimed_message(store, message(headers=headers)).headers == headers

    def test_long_urls(self, store):
        """A target's URL is not cut."""
        one = message(url="/find?q=" + "%F0%9F%A6%8A" * 2_000)
        assert claimed_message(store, one).target == one.target

    @pytest.mark.parametrize("queue", [TEXT, "🦊" * 32, "q" * 128, "0", "null", "queue.a'); DROP TABLE x; --"])
    def test_queue_names_of_every_script(self, store, queue):
        """A queue's name is text, to its last byte."""
        lease = claimed(store, message(queue))
        assert lease.message.queue == queue
        assert store.lanes([lease.lane]) == {lease.lane: (queue, "app")}
        assert counts(store, queue) == (0, 0, 1, 0)

    def test_queue_names_that_look_alike_are_kept_apart(self, store):
        """Case, accents, trailing blanks, width and composition make different queues."""
        alike = [
            "queue",
            "Queue",
            "quéue",
            "que\u0301ue",
            "queue ",
            "queue  ",
            " queue",
            "\uff51ueue",
            "queue\t",
            "straße",
            "strasse",
        ]
        for name in alike:
            put(store, message(name))
        leases = claim(store, dispatcher(store))
        assert sorted(lease.message.queue for lease in leases) == sorted(alike)
        assert len({lease.lane for lease in leases}) == len(alike)
        assert sorted(figures.queue for figures in store.status(now=NOW).queues) == sorted(alike)

    def test_targets_of_one_queue_are_lanes_of_their_own(self, store):
        """A lane is a queue and an origin: paths share it, other hosts, ports, schemes and upstreams do not."""
        same = [message(url="/a"), message(url="/b")]
        other = [
            message(url="http://a.example/x", upstream=None),
            message(url="https://a.example/x", upstream=None),
            message(url="http://a.example:81/x", upstream=None),
            message(url="/a", upstream="mail"),
        ]
        put(store, *same, *other)
        lanes = {lease.message.id: lease.lane for lease in claim(store, dispatcher(store))}
        assert lanes[same[0].id] == lanes[same[1].id]
        assert len(set(lanes.values())) == 5
        assert sorted(store.lanes(set(lanes.values())).values()) == sorted({one.lane for one in same + other})

    def test_unknown_lanes_are_left_out(self, store):
        """Asking for lanes that are not is no error."""
        assert store.lanes([]) == {}
        assert store.lanes([1, 4_711, 2**31 - 1]) == {}


class TestTimes:
    def test_a_delay_counts_from_the_put(self, store):
        """A delayed message is scheduled, and claimed from its due time on."""
        one = message(delay_seconds=10.0)
        put(store, one)
        owner = dispatcher(store)
        assert counts(store) == (0, 1, 0, 0)
        assert claim(store, owner, now=NOW + 9.999) == []
        assert ids(claim(store, owner, now=NOW + 10.0)) == [one.id]

    def test_deliver_at_is_an_instant(self, store):
        """A message is claimed from `deliver_at` on, whenever it was put."""
        one = message(deliver_at=NOW + 60)
        put(store, one, now=NOW + 50)
        owner = dispatcher(store)
        assert claim(store, owner, now=NOW + 59.9) == []
        assert ids(claim(store, owner, now=NOW + 60)) == [one.id]

    @pytest.mark.parametrize("deliver_at", [NOW, NOW - 1, NOW - 1e8, 0.0, -1.0])
    def test_deliver_at_in_the_past_is_now(self, store, deliver_at):
        """What should have been delivered before it was put is due at once, and its age counts from the put."""
        lease = claimed(store, message(deliver_at=deliver_at))
        assert lease.age_seconds == 0.0

    def test_the_later_of_delay_and_deliver_at_counts(self, store):
        """Given both, a message waits for both."""
        put(store, message(delay_seconds=5, deliver_at=NOW + 7), message(delay_seconds=7, deliver_at=NOW + 5))
        owner = dispatcher(store)
        assert claim(store, owner, now=NOW + 6.9) == []
        assert len(claim(store, owner, now=NOW + 7)) == 2

    @pytest.mark.parametrize("seconds", [1e9, 1e15, 1e300, float("inf")])
    def test_delays_without_end_are_no_error(self, store, seconds):
        """However far off an instant is, it is stored and never due in our time."""
        put(store, message(delay_seconds=seconds, expires_seconds=seconds), message(deliver_at=NOW + seconds))
        assert claim(store, dispatcher(store), now=NOW + 5e8) == []
        assert counts(store) == (0, 2, 0, 0)

    def test_expiry_counts_from_the_put(self, store):
        """A claim tells how much of a message's time is left, be it below nothing."""
        put(store, message(expires_seconds=30.0))
        owner = dispatcher(store)
        [lease] = claim(store, owner, now=NOW + 10)
        assert lease.expires_in_seconds == pytest.approx(20.0)
        store.unregister(owner, now=NOW + 10)
        [lease] = claim(store, dispatcher(store), now=NOW + 40)
        assert lease.expires_in_seconds == pytest.approx(-10.0)

    def test_no_expiry_stays_none(self, store):
        """A message without an expiry has all the time there is."""
        assert claimed(store, message()).expires_in_seconds is None

    @pytest.mark.parametrize(
        "zone", ["CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"]
    )
    @pytest.mark.parametrize("day", [(2024, 3, 31), (2024, 10, 27), (2024, 4, 7), (2024, 3, 10)])
    def test_clocks_that_are_put_forward_or_back(self, store, monkeypatch, zone, day):
        """Instants are instants: an hour that a wall clock leaves out or has twice changes no due time."""
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            start = time.mktime((*day, 0, 0, 0, 0, 0, -1))
            owner = dispatcher(store, now=start)
            put(store, *(message(delay_seconds=1_800.0 * step) for step in range(1, 11)), now=start)
            found = [len(claim(store, owner, now=start + 1_800.0 * step)) for step in range(1, 11)]
        finally:
            monkeypatch.undo()
            time.tzset()
        assert found == [1] * 10

    def test_without_now_the_stores_own_clock_counts(self, store):
        """A put at the store's own time is due at once, and one with a delay is not."""
        put(store, message(), message(delay_seconds=3_600), now=None)
        owner = dispatcher(store, now=None)
        [lease] = claim(store, owner, now=None)
        assert 0.0 <= lease.age_seconds < 60.0
        settle(store, (lease, dead()), now=None)
        [letter] = store.dead()
        assert abs(letter.died_at - time.time()) < 60.0

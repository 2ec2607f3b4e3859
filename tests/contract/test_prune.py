"""prune: what is over is forgotten, a bounded number of rows at a time, and nothing else is."""

from __future__ import annotations

from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered
from tests.support.factories import NOW, bury, claim, counts, dispatcher, ids, message, messages, put, retry, settle

DAY = 86_400.0


def prune_all(store, now):
    """Prune until nothing is left to forget; return the sum."""
    total = 0
    while went := store.prune(now=now):
        total += went
    return total


class TestPuts:
    def test_put_ids_are_forgotten_when_their_time_is_over(self, store):
        """After `put_memory_seconds`, and not before, a put's id is forgotten."""
        for _ in range(3):
            put(store, message())
        assert store.prune(now=NOW + 899) == 0
        assert store.prune(now=NOW + 901) == 3
        assert store.prune(now=NOW + 901) == 0

    def test_the_time_is_a_setting(self, open_store):
        """`put_memory_seconds` is the store's setting."""
        store = open_store(put_memory_seconds=10.0)
        made = put(store, message())
        assert store.prune(now=NOW + 9) == 0
        store.put(made, now=NOW + 9)
        assert counts(store) == (1, 0, 0, 0)
        assert store.prune(now=NOW + 11) == 1

    def test_in_batches(self, store):
        """A call forgets at most `limit` rows, the oldest first."""
        old = [Put(new_id(), tuple(messages(1))) for _ in range(12)]
        for second, one in enumerate(old):
            store.put(one, now=NOW + second)
        assert [store.prune(limit=5, now=NOW + 5_000) for _ in range(4)] == [5, 5, 2, 0]

    def test_messages_stay(self, store):
        """Forgetting that a put was made forgets no message of it, in whatever state."""
        put(store, *messages(2), message(delay_seconds=10 * DAY))
        bury_one = message("queue.b")
        owner = dispatcher(store, "holds")
        [lease] = claim(store, owner, 1)
        prune_all(store, now=NOW + 5 * DAY)
        assert counts(store, now=NOW + 5 * DAY) == (1, 1, 1, 0)
        assert settle(store, (lease, Delivered())) == ["settled"]
        put(store, bury_one, now=NOW + 5 * DAY)


class TestLanes:
    def test_an_unused_lane_is_forgotten(self, store, open_store):
        """An empty lane that was not used for a long time is deleted."""
        put(store, message("queue.old"))
        [lease] = claim(store, dispatcher(store))
        settle(store, (lease, Delivered()))
        prune_all(store, now=NOW + 3_600)
        assert open_store().lanes([lease.lane]) == {lease.lane: ("queue.old", "app")}
        prune_all(store, now=NOW + 30 * DAY)
        assert open_store().lanes([lease.lane]) == {}

    def test_a_forgotten_lane_is_created_again(self, store):
        """A queue that comes back after a long time works as on its first day."""
        put(store, message("queue.old"))
        owner = dispatcher(store)
        [lease] = claim(store, owner)
        settle(store, (lease, Delivered()))
        later = NOW + 30 * DAY
        store.beat(owner, now=later)
        prune_all(store, now=later)
        one, two = message("queue.new"), message("queue.old")
        put(store, one, two, now=later)
        leases = claim(store, owner, now=later)
        assert sorted(lease.message.queue for lease in leases) == ["queue.new", "queue.old"]
        assert lease.lane not in {again.lane for again in leases}
        assert store.lanes([again.lane for again in leases]) == {again.lane: again.message.lane for again in leases}

    def test_a_lane_that_is_claimed_from_stays(self, store, open_store):
        """Claims count as use: some who put, within transactions of their own, mark nothing."""
        put(store, message("queue.old", delay_seconds=6 * DAY))
        claimed_at = NOW + 6 * DAY
        [lease] = claim(store, dispatcher(store, now=claimed_at), now=claimed_at)
        settle(store, (lease, Delivered()), now=claimed_at)
        known = {lease.lane: ("queue.old", "app")}
        for days, left in ((6, known), (8, known), (12, known), (14, {})):
            prune_all(store, now=NOW + days * DAY)
            assert open_store().lanes([lease.lane]) == left

    def test_a_lane_in_use_stays(self, store, open_store):
        """A lane that holds a message in any state, or was used lately, is kept."""
        bury(store, message("dead"))
        put(store, message("leased"))
        [lease] = claim(store, dispatcher(store))
        put(store, message("ready"), message("scheduled", delay_seconds=90 * DAY))
        later = NOW + 30 * DAY
        for now in (NOW, later - DAY):
            put(store, message("fresh"), now=now)
            for other in claim(store, "one", now=now):
                settle(store, (other, Delivered() if other.message.queue == "fresh" else retry(0.0)), now=now)
        store.beat("one", now=later)
        prune_all(store, now=later)
        known = {queue for queue, _ in open_store().lanes(range(1, 100)).values()}
        assert {"dead", "leased", "ready", "scheduled", "fresh"} <= known
        assert settle(store, (lease, Delivered()), now=later) == ["settled"]

    def test_messages_of_a_lane_that_was_nearly_forgotten(self, store):
        """A put that comes in the instant of pruning finds its lane, or makes it: no message is left without one."""
        later = NOW + 30 * DAY
        put(store, message("queue.old"))
        [lease] = claim(store, dispatcher(store, now=later), now=later)
        settle(store, (lease, Delivered()), now=later)
        one = message("queue.old")
        put(store, one, now=later)
        prune_all(store, now=later)
        assert ids(claim(store, "one", now=later)) == [one.id]


class TestDispatchers:
    def test_a_dispatcher_that_is_long_silent_is_forgotten(self, store):
        """Who was killed while it held nothing does not stand in the figures for ever."""
        dispatcher(store)
        prune_all(store, now=NOW + 600)
        assert len(store.look(now=NOW).beats) == 1
        prune_all(store, now=NOW + DAY)
        assert store.look(now=NOW).beats == ()

    def test_who_holds_leases_is_not_forgotten(self, store):
        """Leases are rescued, never forgotten with their owner."""
        put(store, message())
        claim(store, dispatcher(store))
        prune_all(store, now=NOW + DAY)
        [beat] = store.look(now=NOW).beats
        assert beat.holds_leases

    def test_who_beats_is_not_forgotten(self, store):
        """An idle dispatcher that beats stays known, however long it has run."""
        dispatcher(store)
        store.beat("one", now=NOW + 30 * DAY)
        prune_all(store, now=NOW + 30 * DAY)
        store.beat("one", now=NOW + 30 * DAY)


def test_pruning_an_empty_store(store):
    """Nothing to forget is no error."""
    assert store.prune(now=NOW) == 0
    assert store.prune(limit=1, now=NOW + 365 * DAY) == 0


def test_the_limit_holds_for_everything_together(store):
    """`limit` bounds a call whatever it is that it forgets."""
    for number in range(4):
        put(store, message(f"q{number}"))
        dispatcher(store, f"owner{number}")
    for lease in claim(store, "owner0"):
        settle(store, (lease, Delivered()))
    went = [store.prune(limit=5, now=NOW + 30 * DAY) for _ in range(4)]
    assert max(went) <= 5
    assert sum(went) == 12

"""rescue: what a dead dispatcher held becomes anyone's, by what its delivery rule says, and only if it is dead."""

from __future__ import annotations

import pytest

from ap4r.errors import OwnerLost
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Delivered, Reason
from ap4r.storage.store import Rescued, SettleResult
from tests.support.factories import (
    NOW,
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


def beat_of(store, owner):
    """Return the counter of a dispatcher."""
    [beat] = [seen.beat for seen in store.look(now=NOW).beats if seen.owner == owner]
    return beat


def rescue(store, owner="one", now=NOW, **options):
    """Rescue a dispatcher's leases, as another one that saw its counter unchanged."""
    return store.rescue(owner, beat_of(store, owner), now=now, **options)


class TestWhoLives:
    @pytest.mark.parametrize("sign", ["beat", "claim"])
    def test_a_counter_that_moved_is_life(self, store, sign):
        """Who gave a sign since it was looked at keeps its leases and may go on."""
        put(store, *messages(2))
        owner = dispatcher(store)
        leases = claim(store, owner, 1)
        seen = beat_of(store, owner)
        if sign == "beat":
            store.beat(owner, now=NOW)
        else:
            leases += claim(store, owner, 1)
        assert store.rescue(owner, seen, now=NOW) is None
        assert settle(store, *((lease, Delivered()) for lease in leases)) == [SettleResult.SETTLED] * len(leases)
        store.beat(owner, now=NOW)

    def test_a_rescued_dispatcher_is_refused(self, store):
        """A dispatcher that was considered dead can neither beat nor claim."""
        claimed(store, message())
        rescue(store)
        with pytest.raises(OwnerLost):
            store.beat("one", now=NOW)
        with pytest.raises(OwnerLost):
            store.claim("one", 1, now=NOW)
        assert store.look(now=NOW).beats == ()

    def test_time_alone_rescues_no_dispatcher(self, store):
        """No clock decides: a counter that stands is rescued at once, one that moved never."""
        claimed(store, message())
        seen = beat_of(store, "one")
        store.beat("one", now=NOW)
        assert store.rescue("one", seen, now=NOW + 1e9) is None

    def test_of_two_rescuers_one_frees(self, store, open_store):
        """Two observers that come to the same conclusion free each message once."""
        put(store, *messages(3))
        claim(store, dispatcher(store))
        seen = beat_of(store, "one")
        assert store.rescue("one", seen, now=NOW) == Rescued(freed=3)
        assert open_store().rescue("one", seen, now=NOW) in (None, Rescued())
        assert len(claim(store, dispatcher(store, "two"))) == 3

    def test_others_keep_their_leases(self, store):
        """A rescue concerns one dispatcher."""
        put(store, *messages(4))
        claim(store, dispatcher(store, "one"), 2)
        leases = claim(store, dispatcher(store, "two"), 2)
        assert rescue(store, "one") == Rescued(freed=2)
        assert settle(store, *((lease, Delivered()) for lease in leases)) == [SettleResult.SETTLED] * 2

    def test_who_held_nothing_is_removed(self, store):
        """A dead dispatcher without leases costs no message anything."""
        dispatcher(store)
        assert rescue(store) == Rescued()
        assert store.look(now=NOW).beats == ()

    def test_an_unknown_owner(self, store):
        """A rescue from an unknown dispatcher changes nothing."""
        put(store, message())
        assert store.rescue("unknown", 7, now=NOW) in (None, Rescued())
        assert counts(store) == (1, 0, 0, 0)


class TestBatches:
    def test_a_large_rescue_goes_in_batches(self, store):
        """A rescue takes at most `limit` leases; going on with the same counter takes the rest."""
        put(store, *messages(25))
        claim(store, dispatcher(store))
        seen = beat_of(store, "one")
        assert [store.rescue("one", seen, limit=10, now=NOW) for _ in range(3)] == [
            Rescued(freed=10),
            Rescued(freed=10),
            Rescued(freed=5),
        ]
        assert counts(store) == (25, 0, 0, 0)

    def test_what_a_rescuer_left_behind_is_found(self, store):
        """Leases whose dispatcher is no longer known, as when a rescuer died between batches, are rescued by others."""
        put(store, *messages(5))
        claim(store, dispatcher(store))
        rescue(store, limit=2)
        dispatcher(store, "two")
        [orphan] = [beat for beat in store.look(now=NOW).beats if beat.owner == "one"]
        assert orphan.holds_leases
        assert store.rescue("one", orphan.beat, now=NOW) == Rescued(freed=3)
        assert [beat.owner for beat in store.look(now=NOW).beats] == ["two"]
        assert len(claim(store, "two")) == 5


class TestOutcomes:
    def test_repeated_is_freed(self, store):
        """A message that is repeated is due again at once; the crash costs a failure and is counted."""
        claimed(store, message())
        assert rescue(store) == Rescued(freed=1)
        [lease] = claim(store, dispatcher(store, "two"))
        assert (lease.attempt, lease.failures, lease.crashes) == (2, 1, 1)

    def test_once_is_dead(self, store):
        """Whether a `once` message was called is unknown, so it is never called again."""
        one = message(delivery=Delivery.ONCE)
        claimed(store, one)
        assert rescue(store, now=NOW + 20) == Rescued(dead=1)
        [letter] = store.dead()
        assert (letter.message.id, letter.reason, letter.called) == (one.id, Reason.UNKNOWN, True)
        assert (letter.attempt, letter.failures) == (1, 1)
        assert letter.died_at == pytest.approx(NOW + 20)

    def test_best_effort_is_dropped(self, store):
        """A best-effort message had its one try."""
        claimed(store, message(delivery=Delivery.BEST_EFFORT))
        assert rescue(store) == Rescued(dropped=1)
        assert counts(store) == (0, 0, 0, 0)
        assert store.dead() == []

    def test_all_together(self, store):
        """Each message of a batch goes its own way."""
        put(
            store,
            *messages(3),
            *messages(2, delivery=Delivery.ONCE),
            *messages(4, delivery=Delivery.BEST_EFFORT),
        )
        claim(store, dispatcher(store))
        assert rescue(store) == Rescued(freed=3, dead=2, dropped=4)
        assert counts(store) == (3, 0, 0, 2)

    def test_a_message_that_kills_dispatchers_dies(self, store):
        """At `max_crashes` a message is a dead letter, so that it cannot bring down one dispatcher after another."""
        put(store, message())
        for number in range(9):
            claim(store, dispatcher(store, f"owner{number}"))
            assert rescue(store, f"owner{number}") == Rescued(freed=1)
        claim(store, dispatcher(store, "last"))
        assert rescue(store, "last") == Rescued(dead=1)
        [letter] = store.dead()
        assert (letter.reason, letter.attempt, letter.failures, letter.called) == (Reason.CRASH, 10, 10, True)

    def test_max_crashes_is_a_setting(self, open_store):
        """The cap is the store's setting."""
        store = open_store(max_crashes=2)
        put(store, message())
        claim(store, dispatcher(store))
        assert rescue(store) == Rescued(freed=1)
        claim(store, dispatcher(store))
        assert rescue(store) == Rescued(dead=1)

    @pytest.mark.parametrize(("limit", "expected"), [(1, Rescued(dead=1)), (2, Rescued(freed=1))])
    def test_a_crash_counts_against_max_deliveries(self, store, limit, expected):
        """A message's own limit of failures holds for crashes too."""
        claimed(store, message(max_deliveries=limit))
        assert rescue(store) == expected

    def test_failures_from_before_count(self, store):
        """Failures and crashes add up."""
        lease = claimed(store, message(max_deliveries=3))
        for _ in range(2):
            settle(store, (lease, retry(0.0)))
            [lease] = claim(store, "one")
        assert rescue(store) == Rescued(dead=1)

    def test_a_freed_message_keeps_its_place(self, store):
        """What was rescued is due before what came later, and its age goes on."""
        first, second = message(), message()
        put(store, first)
        put(store, second, now=NOW + 5)
        claim(store, dispatcher(store), 1, now=NOW + 6)
        rescue(store, now=NOW + 30)
        leases = claim(store, dispatcher(store, "two", now=NOW + 30), now=NOW + 30)
        assert ids(leases) == [first.id, second.id]
        assert leases[0].age_seconds == pytest.approx(30.0)

    def test_expiry_goes_on(self, store):
        """A rescued message has no more time than before."""
        claimed(store, message(expires_seconds=60.0))
        rescue(store, now=NOW + 20)
        [lease] = claim(store, dispatcher(store, "two"), now=NOW + 25)
        assert lease.expires_in_seconds == pytest.approx(35.0)


class TestStale:
    @pytest.mark.parametrize("outcome", [Delivered(), retry(), dead(), Dead(Reason.GONE)])
    @pytest.mark.parametrize("delivery", list(Delivery))
    def test_a_dispatcher_that_wakes_up_settles_nothing(self, store, delivery, outcome):
        """An outcome that comes after the rescue changes nothing, whether the message is claimed again or not."""
        lease = claimed(store, message(delivery=delivery))
        rescue(store)
        before = counts(store)
        assert settle(store, (lease, outcome)) == [SettleResult.LEASE_LOST]
        assert counts(store) == before
        again = claim(store, dispatcher(store, "two"))
        assert settle(store, (lease, outcome)) == [SettleResult.LEASE_LOST]
        assert settle(store, *((one, Delivered()) for one in again)) == [SettleResult.SETTLED] * len(again)

    def test_settled_before_the_rescue_stays_settled(self, store):
        """What a dispatcher settled before it died is not called again."""
        put(store, *messages(4))
        leases = claim(store, dispatcher(store))
        settle(store, *((lease, Delivered()) for lease in leases[:3]))
        assert rescue(store) == Rescued(freed=1)
        assert ids(claim(store, dispatcher(store, "two"))) == ids(leases[3:])

    def test_a_new_owner_of_the_old_name(self, store):
        """A dispatcher that registers again after its rescue has no leases and an owner id of its own."""
        lease = claimed(store, message())
        rescue(store)
        dispatcher(store, "one")
        assert settle(store, (lease, Delivered())) == [SettleResult.LEASE_LOST]
        assert len(claim(store, "one")) == 1

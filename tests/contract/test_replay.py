"""replay: a person puts dead letters back, to the front of their lanes."""

from __future__ import annotations

import pytest

from ap4r.message.message import Delivery, new_id
from ap4r.outcome.outcome import Delivered, Reason
from ap4r.storage.store import Replayed, SettleResult
from tests.support.factories import (
    NOW,
    bury,
    claim,
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


def test_a_replayed_message_is_due_at_once(store):
    """What was replayed is no dead letter any more and is claimed, once."""
    one = message()
    bury(store, one)
    assert store.replay([one.id], now=NOW + 9) == Replayed(replayed=(one.id,))
    assert store.dead() == []
    [lease] = claim(store, dispatcher(store), now=NOW + 9)
    assert lease.message == one
    assert settle(store, (lease, Delivered())) == [SettleResult.SETTLED]
    assert counts(store) == (0, 0, 0, 0)


def test_it_goes_to_the_front(store):
    """A replayed message comes before all that wait in its lane, and replays keep their own order."""
    letters, waiting = messages(4), messages(3)
    bury(store, *letters)
    put(store, *waiting, now=NOW - 1_000)
    store.replay([one.id for one in letters[:2]], now=NOW + 1)
    store.replay([one.id for one in letters[2:]], now=NOW + 2)
    found = ids(claim(store, dispatcher(store), now=NOW + 3))
    assert found == [one.id for one in letters + waiting]


def test_other_lanes_have_their_turn_all_the_same(store):
    """A replay goes before its own lane, not before those of others."""
    bury(store, *messages(10, "queue.b"))
    put(store, message("queue.a"))
    store.replay([letter.message.id for letter in store.dead()], now=NOW)
    assert "queue.a" in [lease.message.queue for lease in claim(store, dispatcher(store), 2)]


def test_counters_restart_but_calls_are_not_forgotten(store):
    """After a replay no failure or crash counts; `attempt` goes on, for it is the number of calls."""
    one = message()
    put(store, one)
    owner = dispatcher(store)
    for _ in range(3):
        [lease] = claim(store, owner)
        settle(store, (lease, retry(0.0)))
    claim(store, owner)
    [beat] = store.look(now=NOW).beats
    store.rescue(owner, beat.beat, now=NOW)
    [lease] = claim(store, dispatcher(store, "two"))
    assert (lease.attempt, lease.failures, lease.crashes) == (5, 4, 1)
    settle(store, (lease, dead()))
    store.replay([one.id], now=NOW)
    [lease] = claim(store, "two")
    assert (lease.attempt, lease.failures, lease.crashes) == (6, 0, 0)


def test_age_and_expiry_restart(store):
    """A person wants it now: what was given up for its age or expiry is young again, and does not expire."""
    one = message(expires_seconds=10.0)
    bury(store, one, called=False)
    store.replay([one.id], now=NOW + 1_000)
    [lease] = claim(store, dispatcher(store), now=NOW + 1_003)
    assert lease.age_seconds == pytest.approx(3.0)
    assert lease.expires_in_seconds is None


class TestOnce:
    def test_once_that_was_called_needs_again(self, store):
        """A `once` message that may have had its effect goes back only when a person says so."""
        one = message(delivery=Delivery.ONCE)
        bury(store, one)
        assert store.replay([one.id], now=NOW) == Replayed(refused=(one.id,))
        assert [letter.message.id for letter in store.dead()] == [one.id]
        assert counts(store) == (0, 0, 0, 1)
        assert store.replay([one.id], again=True, now=NOW) == Replayed(replayed=(one.id,))
        assert ids(claim(store, dispatcher(store))) == [one.id]

    def test_once_that_was_not_called_goes_back(self, store):
        """A `once` message that never reached its target is no second call."""
        one = message(delivery=Delivery.ONCE)
        bury(store, one, called=False)
        assert store.replay([one.id], now=NOW) == Replayed(replayed=(one.id,))

    def test_once_of_a_dispatcher_that_died(self, store):
        """A call with an unknown outcome counts as made."""
        one = message(delivery=Delivery.ONCE)
        put(store, one)
        claim(store, dispatcher(store))
        [beat] = store.look(now=NOW).beats
        store.rescue("one", beat.beat, now=NOW)
        assert store.dead()[0].reason is Reason.UNKNOWN
        assert store.replay([one.id], now=NOW).refused == (one.id,)

    def test_the_others_of_a_replay_go_back(self, store):
        """One that is refused keeps no other."""
        once, repeated = message(delivery=Delivery.ONCE), message()
        bury(store, once, repeated)
        assert store.replay([once.id, repeated.id], now=NOW) == Replayed((repeated.id,), (once.id,))


class TestMissing:
    def test_what_is_not_dead_is_missing(self, store):
        """Ids that are unknown, waiting, scheduled or leased are reported and not changed."""
        waiting, scheduled, letter = message(), message(delay_seconds=60), message()
        bury(store, letter)
        put(store, waiting, scheduled)
        unknown = new_id()
        wanted = [waiting.id, scheduled.id, unknown, letter.id]
        result = store.replay(wanted, now=NOW)
        assert result == Replayed(replayed=(letter.id,), missing=(waiting.id, scheduled.id, unknown))
        assert counts(store) == (2, 1, 0, 0)

    def test_replaying_twice(self, store):
        """A message goes back once, however often it is named or asked for."""
        one = message()
        bury(store, one)
        assert store.replay([one.id, one.id], now=NOW) == Replayed(replayed=(one.id,))
        assert store.replay([one.id], now=NOW) == Replayed(missing=(one.id,))
        assert counts(store) == (1, 0, 0, 0)

    def test_ids_in_other_spellings(self, store):
        """An id that a person copied in upper case is the same id."""
        one = message()
        bury(store, one)
        assert store.replay([one.id.upper()], now=NOW) == Replayed(replayed=(one.id,))

    def test_none(self, store):
        """Replaying nothing is no error."""
        assert store.replay([], now=NOW) == Replayed()


def test_a_thousand(store):
    """Long lists are replayed as a whole."""
    described = messages(1_000)
    bury(store, *described)
    result = store.replay([one.id for one in described], now=NOW)
    assert sorted(result.replayed) == sorted(one.id for one in described)
    assert counts(store) == (1_000, 0, 0, 0)

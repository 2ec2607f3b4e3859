"""unregister: who leaves gives back what it holds, at no cost to any message."""

from __future__ import annotations

import pytest

from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Delivered
from ap4r.storage.store import SettleResult
from tests.support.factories import NOW, claim, claimed, counts, dispatcher, ids, message, messages, put, retry, settle


def test_leases_are_handed_back(store):
    """All that a dispatcher holds is anyone's at once, and it tells how much that was."""
    put(store, *messages(5))
    claim(store, dispatcher(store), 3)
    assert store.unregister("one", now=NOW) == 3
    assert counts(store) == (5, 0, 0, 0)
    assert store.look(now=NOW).beats == ()


@pytest.mark.parametrize("delivery", list(Delivery))
def test_it_costs_no_attempt(store, delivery):
    """What was not called has no attempt more, no failure and no crash, `once` and best effort included."""
    lease = claimed(store, message(delivery=delivery))
    assert store.unregister("one", now=NOW) == 1
    [again] = claim(store, dispatcher(store, "two"))
    assert (again.attempt, again.failures, again.crashes) == (lease.attempt, lease.failures, lease.crashes) == (1, 0, 0)


def test_counters_from_before_stay(store):
    """Handing back gives back one attempt, not those that were calls."""
    lease = claimed(store, message())
    settle(store, (lease, retry(0.0)))
    claim(store, "one")
    store.unregister("one", now=NOW)
    [lease] = claim(store, dispatcher(store, "two"))
    assert (lease.attempt, lease.failures, lease.crashes) == (2, 1, 0)


def test_order_is_kept(store):
    """What is handed back stands where it stood."""
    described = messages(6)
    for second, one in enumerate(described):
        put(store, one, now=NOW + second)
    claim(store, dispatcher(store), 3, now=NOW + 10)
    store.unregister("one", now=NOW + 10)
    assert ids(claim(store, dispatcher(store, "two"), now=NOW + 10)) == [one.id for one in described]


def test_many_leases(store):
    """However many leases there are, all are handed back by the one call."""
    put(store, *messages(1_000), *messages(201))
    claim(store, dispatcher(store), 2_000)
    assert store.unregister("one", now=NOW) == 1_201
    assert counts(store) == (1_201, 0, 0, 0)


def test_others_keep_theirs(store):
    """Who leaves takes nothing from those who stay."""
    put(store, *messages(4))
    claim(store, dispatcher(store, "one"), 2)
    leases = claim(store, dispatcher(store, "two"), 2)
    assert store.unregister("one", now=NOW) == 2
    assert settle(store, *((lease, Delivered()) for lease in leases)) == [SettleResult.SETTLED] * 2


def test_what_was_handed_back_is_lost_to_who_left(store):
    """After leaving, an outcome comes too late."""
    lease = claimed(store, message())
    store.unregister("one", now=NOW)
    assert settle(store, (lease, Delivered())) == [SettleResult.LEASE_LOST]
    assert counts(store) == (1, 0, 0, 0)


def test_leaving_twice_or_unknown(store):
    """Leaving may be repeated, and is no error for who is not known."""
    dispatcher(store)
    assert [store.unregister(owner, now=NOW) for owner in ("one", "one", "unknown")] == [0, 0, 0]

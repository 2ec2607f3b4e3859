"""look: one glance tells an idle dispatcher what is due and who lives."""

from __future__ import annotations

import pytest

from ap4r.outcome.outcome import Delivered
from tests.support.factories import NOW, claim, claimed, dispatcher, message, messages, put, retry, settle


def test_an_empty_store(store):
    """Nothing is due or scheduled, and there is no dispatcher."""
    look = store.look(now=NOW)
    assert (look.due, look.next_due_in_seconds, look.beats) == (False, None, ())


def test_something_is_due(store):
    """A message that waits is seen."""
    put(store, message())
    assert store.look(now=NOW).due


def test_the_next_due_time(store):
    """A scheduled message is reported with the time until it is due."""
    put(store, message(delay_seconds=40), message(delay_seconds=12.5))
    look = store.look(now=NOW)
    assert not look.due
    assert look.next_due_in_seconds == pytest.approx(12.5)


@pytest.mark.parametrize("late_seconds", [0.0, 1.0, 1e6])
def test_what_fell_due_is_due(store, late_seconds):
    """A scheduled message whose time has come is due, though no claim has noticed yet."""
    put(store, message(delay_seconds=10))
    look = store.look(now=NOW + 10 + late_seconds)
    assert look.due
    assert look.next_due_in_seconds in (None, 0.0)


def test_what_is_leased_or_gone_is_not_due(store):
    """What others are at, or have done, is nothing to wake up for."""
    lease = claimed(store, message())
    assert not store.look(now=NOW).due
    settle(store, (lease, Delivered()))
    assert not store.look(now=NOW).due


def test_a_retry_is_seen(store):
    """A message that waits for a retry is reported like any scheduled one."""
    lease = claimed(store, message())
    settle(store, (lease, retry(30.0)))
    assert store.look(now=NOW + 10).next_due_in_seconds == pytest.approx(20.0)


def test_who_holds_leases(store):
    """Each dispatcher is listed with whether it holds leases: only then does a missing heartbeat matter."""
    put(store, *messages(3))
    one, two = dispatcher(store, "one"), dispatcher(store, "two")
    leases = claim(store, two, 2)
    assert {beat.owner: beat.holds_leases for beat in store.look(now=NOW).beats} == {one: False, two: True}
    settle(store, *((lease, Delivered()) for lease in leases))
    assert {beat.owner: beat.holds_leases for beat in store.look(now=NOW).beats} == {one: False, two: False}


def test_leases_without_an_owner_are_seen(store):
    """Leases whose dispatcher is no longer known are shown under its name, with a counter that never moves."""
    put(store, *messages(5))
    owner = dispatcher(store, bell="udp://127.0.0.1:1")
    claim(store, owner)
    [beat] = store.look(now=NOW).beats
    store.rescue(owner, beat.beat, limit=2, now=NOW)
    first, second = (store.look(now=NOW + later).beats for later in (1, 100))
    assert [(beat.owner, beat.holds_leases) for beat in first] == [(owner, True)]
    assert first == second


def test_looking_changes_nothing(store):
    """A glance leaves counters, leases and what is due alone."""
    put(store, message(), message(delay_seconds=1))
    dispatcher(store)
    assert store.look(now=NOW + 2) == store.look(now=NOW + 2)
    assert store.status(now=NOW).dispatchers[0].seen_seconds == pytest.approx(0.0)

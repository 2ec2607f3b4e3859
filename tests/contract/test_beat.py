"""register and beat: a dispatcher is known from its first word to its last, and its counter moves while it lives."""

from __future__ import annotations

import pytest

from ap4r.errors import OwnerLost
from tests.support.factories import NOW, dispatcher


def beat_of(store, owner):
    """Return the counter of a dispatcher, None when it is unknown."""
    return next((seen.beat for seen in store.look(now=NOW).beats if seen.owner == owner), None)


def test_a_registered_dispatcher_is_seen(store):
    """Who registers is known by owner, name, version and bell."""
    store.register("owner-1", "host:4711", "1.2.3", "udp://127.0.0.1:5", now=NOW)
    [beat] = store.look(now=NOW).beats
    assert (beat.owner, beat.holds_leases, beat.bell) == ("owner-1", False, "udp://127.0.0.1:5")
    [status] = store.status(now=NOW).dispatchers
    assert (status.owner, status.name, status.version) == ("owner-1", "host:4711", "1.2.3")


def test_every_beat_moves_the_counter(store):
    """Two looks with a beat between them differ, also at one instant."""
    owner = dispatcher(store)
    seen = [beat_of(store, owner)]
    for _ in range(5):
        store.beat(owner, now=NOW)
        seen.append(beat_of(store, owner))
    assert seen == sorted(set(seen))


def test_without_a_beat_the_counter_stands(store):
    """Time alone moves no counter, nor does what others do."""
    owner, other = dispatcher(store), dispatcher(store, "two")
    before = beat_of(store, owner)
    store.beat(other, now=NOW + 100)
    store.claim(other, 10, now=NOW + 100)
    store.prune(now=NOW + 100)
    assert beat_of(store, owner) == before


def test_a_claim_beats_unless_it_need_not(store):
    """Either way it is refused to a stranger."""
    owner = dispatcher(store)
    seen = [beat_of(store, owner)]
    for beat in (True, False):
        store.claim(owner, 10, beat=beat, now=NOW)
        seen.append(beat_of(store, owner))
        with pytest.raises(OwnerLost):
            store.claim("unknown", 10, beat=beat, now=NOW)
    assert seen[0] < seen[1] == seen[2]


def test_a_beat_shows_when_a_dispatcher_was_seen(store):
    """The age of a dispatcher's last sign counts from its last beat."""
    owner = dispatcher(store)
    store.beat(owner, now=NOW + 10)
    [status] = store.status(now=NOW + 12).dispatchers
    assert status.seen_seconds == pytest.approx(2.0)
    assert status.alive


def test_the_beat_of_a_stranger_is_refused(store):
    """The heartbeat of an unknown or removed dispatcher raises an error."""
    with pytest.raises(OwnerLost) as caught:
        store.beat("unknown", now=NOW)
    assert caught.value.owner == "unknown"
    owner = dispatcher(store)
    store.unregister(owner, now=NOW)
    with pytest.raises(OwnerLost):
        store.beat(owner, now=NOW)


def test_a_stranger_is_not_made_known_by_its_beat(store):
    """A beat that is refused leaves nothing behind."""
    with pytest.raises(OwnerLost):
        store.beat("unknown", now=NOW)
    assert store.look(now=NOW).beats == ()


def test_a_repeated_register_is_no_error(store):
    """Registering may be repeated after a lost answer."""
    dispatcher(store, bell="udp://127.0.0.1:5")
    dispatcher(store, bell="udp://127.0.0.1:5")
    assert len(store.look(now=NOW).beats) == 1


def test_names_of_any_length_and_script(store):
    """A host's name keeps no dispatcher from working."""
    store.register("owner", "🦊" * 300, "1.0", "", now=NOW)
    [status] = store.status(now=NOW).dispatchers
    assert status.name
    assert ("🦊" * 300).startswith(status.name)


class TestBells:
    def test_bells_of_those_seen_in_the_last_minute(self, store):
        """Doorbells are those of dispatchers that may still hear."""
        dispatcher(store, "deaf")
        dispatcher(store, "one", bell="udp://127.0.0.1:1")
        dispatcher(store, "two", bell="udp://127.0.0.1:2")
        store.beat("two", now=NOW + 50)
        assert sorted(store.bells(now=NOW + 59)) == ["udp://127.0.0.1:1", "udp://127.0.0.1:2"]
        assert store.bells(now=NOW + 61) == ["udp://127.0.0.1:2"]
        assert store.bells(now=NOW + 111) == []

    def test_no_bells_in_an_empty_store(self, store):
        """Without dispatchers there is no doorbell."""
        assert store.bells(now=NOW) == []

    def test_who_has_left_is_not_rung(self, store):
        """A dispatcher that has left has no bell."""
        dispatcher(store, bell="udp://127.0.0.1:1")
        store.unregister("one", now=NOW)
        assert store.bells(now=NOW) == []

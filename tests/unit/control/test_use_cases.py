"""The use cases of an operator return what they found and did as values, and print nothing."""

from __future__ import annotations

import dataclasses

import pytest

from ap4r.control.dead_letters import PAGE, list_dead_letters, replay, replay_all
from ap4r.control.doctor import diagnose
from ap4r.control.status import status
from ap4r.message.message import Delivery, Message, Put, new_id
from ap4r.message.target import parse_target
from ap4r.outcome.outcome import Dead, Failure, Reason
from ap4r.settings.settings import Settings
from ap4r.storage.store import Settlement
from tests.support.memory_store import MemoryDatabase

NOW = 1_700_000_000.0


@pytest.fixture
def database():
    """A database whose clock is stopped."""
    return MemoryDatabase(lambda: NOW)


@pytest.fixture
def store(database):
    """A store in it."""
    return database.open()


def put(store, count=1, *, path="/search/reindex", delivery=Delivery.REPEATED, now=NOW):
    target, queue = parse_target(path)
    messages = tuple(
        Message(id=new_id(), queue=queue, target=target, delivery=delivery, body=b"secret") for _ in range(count)
    )
    store.put(Put(new_id(), messages), now=now)
    return [message.id for message in messages]


def bury(store):
    store.register("grave", "digger:1", "0", "")
    failure = Failure(Reason.GONE, 410, "not here")
    leases = store.claim("grave", 10_000).leases
    store.settle([Settlement(lease, Dead(Reason.GONE, failure, called=True)) for lease in leases])
    store.unregister("grave")


def test_status_says_whether_the_store_is_stuck(store):
    """Messages that are due for a minute need a person as long as no dispatcher is alive."""
    assert not status(store).stuck
    put(store, now=NOW - 61)
    report = status(store)
    assert (report.store, report.stuck, report.figures.queues[0].ready) == (store.name, True, 1)
    store.register("one", "host:1", "0", "")
    assert not status(store).stuck


def test_a_page_of_dead_letters_says_where_the_next_begins(store):
    """Each page but the last names the message behind which the next one begins."""
    ids = put(store, 5)
    bury(store)
    first = list_dead_letters(store, limit=2)
    assert [letter.message.id for letter in first.letters] == ids[:2]
    assert first.next_after == ids[1]
    rest = list_dead_letters(store, limit=3, after=first.next_after)
    assert [letter.message.id for letter in rest.letters] == ids[2:]
    assert rest.next_after is None
    assert list_dead_letters(store, queue="queue.other").letters == ()


def test_a_dead_letter_never_has_its_body(store):
    """The values of a dead letter hold why it was given up and the size of its body, not the body."""
    put(store)
    bury(store)
    [letter] = list_dead_letters(store).letters
    assert (letter.reason, letter.status, letter.detail) == (Reason.GONE, 410, "not here")
    assert (letter.message.target, letter.message.body_bytes) == ("app:/search/reindex", len(b"secret"))
    assert "secret" not in repr(dataclasses.asdict(letter))


def test_replay_distinguishes_replayed_refused_and_missing(store):
    """A `once` message that was called is refused, and an id that is no dead letter is missing."""
    [repeated], [once], unknown = put(store), put(store, delivery=Delivery.ONCE), new_id()
    bury(store)
    result = replay(store, [repeated, once, unknown])
    assert (result.replayed, result.refused, result.missing) == ((repeated,), (once,), (unknown,))
    assert replay(store, [once], again=True).replayed == (once,)


def test_replay_all_goes_through_every_page(store):
    """All dead letters are put back, and the progress is reported after each page."""
    ids = put(store, 2 * PAGE + 1)
    bury(store)
    seen = []
    result = replay_all(store, progress=seen.append)
    assert (list(result.replayed), result.refused, result.missing) == (ids, (), ())
    assert seen == [PAGE, 2 * PAGE, 2 * PAGE + 1]
    assert store.dead() == []


def test_replay_all_of_a_queue_ends_at_what_is_refused(store):
    """Refused messages stay dead letters and do not keep the walk from its end; other queues stay as they are."""
    once = put(store, PAGE + 1, delivery=Delivery.ONCE)
    put(store, path="/mail/send")
    bury(store)
    result = replay_all(store, queue="queue.search.reindex")
    assert (result.replayed, list(result.refused)) == ((), once)
    assert len(store.dead(limit=10_000)) == PAGE + 2


def test_diagnose_returns_findings_and_notes(store, database):
    """Each thing that needs a person is a sentence; what is only good to know is a note."""
    put(store)
    bury(store)
    diagnosis = diagnose(store, Settings())
    assert diagnosis.store == store.name
    assert [finding for finding in diagnosis.findings if "no dispatcher of this store is alive" in finding]
    assert [finding for finding in diagnosis.findings if "dead letters wait for a person: 1" in finding]
    assert not diagnosis.signed
    assert diagnosis.notes == ("deliveries to the application are not signed; `ap4r init` writes a secret",)


def test_results_are_values(store, capsys):
    """A result cannot be changed, and no use case prints anything."""
    put(store)
    bury(store)
    for result in (status(store), list_dead_letters(store), diagnose(store, Settings()), replay_all(store)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, None)
    assert capsys.readouterr() == ("", "")

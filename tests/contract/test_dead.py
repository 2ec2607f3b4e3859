"""dead: dead letters are listed for a person, a page at a time."""

from __future__ import annotations

import pytest

from ap4r.message.message import new_id
from ap4r.outcome.outcome import Reason
from tests.support.factories import NOW, bury, claim, message, messages, put


def listed(store, **options):
    """List dead letters by id."""
    return [letter.message.id for letter in store.dead(**options)]


def test_no_dead_letters(store):
    """Only what was given up is listed."""
    put(store, message(), message(delay_seconds=5))
    assert store.dead() == []


def test_a_dead_letter_holds_the_whole_message(store):
    """A person sees all that was to be called, and why it was not done."""
    one = message("queue.b", body=bytes(range(256)), headers=(("X-A", "b"),), url="http://b.example/x", upstream=None)
    bury(store, one, now=NOW)
    [letter] = store.dead()
    assert letter.message == one
    assert (letter.reason, letter.status, letter.detail) == (Reason.STATUS, 500, "it broke")
    assert (letter.attempt, letter.failures, letter.called) == (1, 1, True)
    assert letter.died_at == pytest.approx(NOW)


def test_oldest_id_first(store):
    """Dead letters are listed in the order of their ids, whatever order they died in."""
    described = messages(10)
    for one in described[::2] + described[1::2]:
        bury(store, one)
    assert listed(store) == sorted(one.id for one in described)


def test_pages(store):
    """`limit` and `after` walk through all, each once."""
    described = messages(10)
    bury(store, *described)
    pages: list[list[str]] = []
    after = None
    while page := listed(store, limit=4, after=after):
        pages.append(page)
        after = page[-1]
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [one for page in pages for one in page] == sorted(one.id for one in described)


def test_after_an_id_that_is_not_there(store):
    """A page goes on behind an id that was replayed or never was."""
    before, between, behind = (new_id(NOW + second) for second in range(3))
    bury(store, message(id=before), message(id=behind))
    assert listed(store, after=between) == [behind]


def test_one_queue(store):
    """Dead letters of one queue are distinguished from those of others, over all of its lanes."""
    here = [message("queue.a"), message("queue.a", url="http://b.example/", upstream=None)]
    bury(store, *here, message("queue.b"), message("Queue.a"))
    assert listed(store, queue="queue.a") == sorted(one.id for one in here)
    assert listed(store, queue="queue.a", limit=1, after=here[0].id) == [here[1].id]
    assert listed(store, queue="queue.none") == []


def test_a_thousand(store):
    """Long lists are whole."""
    described = messages(1_000)
    bury(store, *described)
    assert len(store.dead()) == 100
    assert listed(store, limit=2_000) == sorted(one.id for one in described)


def test_listing_changes_nothing(store):
    """A dead letter that was looked at is neither gone nor claimed."""
    one = message()
    bury(store, one)
    assert listed(store) == listed(store) == [one.id]
    store.register("two", "two", "1", "", now=NOW)
    assert claim(store, "two", now=NOW + 1e6) == []

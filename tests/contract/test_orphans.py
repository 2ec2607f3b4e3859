"""Rows that are left of messages whose content is gone, as a backup that was put back in part leaves them."""

from __future__ import annotations

import logging

import pytest

from ap4r.outcome.outcome import Delivered, PutBack
from ap4r.storage.schema.rows import id_bytes
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import Rescued, Settlement, SettleResult
from tests.support.factories import NOW, dead, message, messages, put

SCHEMA = Schema("ap4r_")


@pytest.fixture
def store(shared, opened):
    """A store with a dispatcher."""
    store = opened(shared)()
    store.register("one", "one", "0", "", now=NOW)
    return store


def lose(shared, *lost):
    """Delete the content of messages."""
    with shared.engine().begin() as connection:
        for one in lost:
            table = SCHEMA.messages
            gone = connection.execute(table.delete().where(table.c.id == id_bytes(one.id)))
            assert gone.rowcount == 1


@pytest.mark.parametrize("delay_seconds", [0.0, 5.0])
def test_what_waits_without_content_holds_up_nothing(shared, store, caplog, delay_seconds):
    """A claim takes what is whole, and what is not is taken off and told of once."""
    lost, *whole = messages(3, delay_seconds=delay_seconds)
    put(store, lost, *whole, now=NOW)
    lose(shared, lost)
    with caplog.at_level(logging.ERROR, "ap4r.storage"):
        claim = store.claim("one", 10, now=NOW + 10)
        store.claim("one", 10, now=NOW + 11)
    assert {lease.message.id for lease in claim.leases} == {one.id for one in whole}
    assert [record.message.count(lost.id) for record in caplog.records] == [1]
    figures = store.status(now=NOW + 12).queues[0]
    assert (figures.ready, figures.scheduled, figures.leased) == (0, 0, 2)


def test_what_a_snapshot_does_not_show_yet_is_leased(shared, store, caplog, monkeypatch):
    """A message that is locked before its content is seen, as happens on InnoDB, is leased with its content."""
    unseen, seen = messages(2)
    put(store, unseen, seen, now=NOW)
    rows = store._database.rows

    def rows_of_an_old_snapshot(connection, statement, values):
        found = rows(connection, statement, values)
        return [(*row[:6], *[None] * len(row[6:])) if id_bytes(unseen.id) in row else row for row in found]

    monkeypatch.setattr(store._database, "rows", rows_of_an_old_snapshot)
    leased = {lease.message.id: lease for lease in store.claim("one", 10, now=NOW).leases}
    assert leased[unseen.id].message == unseen
    assert leased[unseen.id].token == leased[seen.id].token
    assert (
        store.settle([Settlement(lease, Delivered()) for lease in leased.values()], now=NOW)
        == [SettleResult.SETTLED] * 2
    )
    assert not caplog.records


def test_what_a_snapshot_does_not_show_yet_is_rescued(shared, store, caplog, monkeypatch):
    """A lease whose message is not seen at first is freed when its dispatcher dies, and not taken off."""
    one = message()
    put(store, one, now=NOW)
    store.claim("one", 10, now=NOW)
    [beat] = store.look(now=NOW).beats
    monkeypatch.setattr(store._rescues._wanted, "rows", lambda connection, ids: [])
    assert store.rescue("one", beat.beat, now=NOW) == Rescued(freed=1)
    store.register("two", "two", "0", "", now=NOW)
    assert [lease.message for lease in store.claim("two", 10, now=NOW).leases] == [one]
    assert not caplog.records


def test_a_lease_without_content_is_settled_and_rescued(shared, store):
    """A lease whose message is gone is settled like any other, and taken off when its dispatcher dies."""
    lost, whole, settled = messages(3)
    put(store, lost, whole, settled, now=NOW)
    leases = {lease.message.id: lease for lease in store.claim("one", 10, now=NOW).leases}
    lose(shared, lost, settled)
    assert store.settle([Settlement(leases[settled.id], PutBack())], now=NOW) == [SettleResult.SETTLED]
    beat = next(one.beat for one in store.look(now=NOW).beats if one.owner == "one")
    rescued = store.rescue("one", beat, now=NOW)
    assert (rescued.freed, rescued.dead) == (1, 0)
    store.register("two", "two", "0", "", now=NOW)
    assert [lease.message.id for lease in store.claim("two", 10, now=NOW).leases] == [whole.id]


def test_a_dead_letter_without_content_hides_no_other(shared, store):
    """Dead letters are listed and replayed past one that has no content."""
    lost, whole = sorted(messages(2), key=lambda one: one.id)
    put(store, lost, whole, now=NOW)
    leases = store.claim("one", 10, now=NOW).leases
    store.settle([Settlement(lease, dead()) for lease in leases], now=NOW)
    lose(shared, lost)
    assert [letter.message.id for letter in store.dead(limit=1)] == [whole.id]
    assert whole.id in store.replay([lost.id, whole.id], now=NOW).replayed
    assert [lease.message.id for lease in store.claim("one", 10, now=NOW).leases] == [whole.id]

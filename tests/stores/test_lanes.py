"""The directory of lanes on servers, where numbers are given before a commit and may be seen in another order."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from ap4r.storage.operations import lanes
from ap4r.storage.schema.tables import Schema
from tests.support.factories import claim, dispatcher, ids, message, put

KEY = ("lane", "position", "id")


@contextmanager
def uncommitted(store, url, queue):
    """Put a message into a new lane, in a transaction that ends with the block; return the message's id."""
    one = message("template", url="/work")
    put(store, one, now=None)
    schema, engine = Schema("ap4r_"), create_engine(url, poolclass=NullPool, isolation_level="READ COMMITTED")
    with engine.begin() as connection:
        connection.execute(schema.lanes.insert(), {"queue": queue, "origin": "app", "used_at": 0})
        lane = connection.execute(text(f"SELECT id FROM ap4r_lanes WHERE queue = '{queue}'")).scalar_one()
        found = connection.execute(schema.ready.select()).one()
        connection.execute(schema.ready.delete().where(*(schema.ready.c[key] == found._mapping[key] for key in KEY)))
        connection.execute(schema.ready.insert(), {**found._mapping, "lane": lane})
        yield one.id


def test_a_lower_number_that_is_seen_later(store, url):
    """Of two new lanes the one with the lower number may be committed last; its messages are claimed at once."""
    owner = dispatcher(store, now=None)
    with uncommitted(store, url, "first") as late:
        one = message("second")
        put(store, one, now=None)
        assert ids(claim(store, owner, now=None)) == [one.id]
    assert ids(claim(store, owner, now=None)) == [late]


@pytest.mark.parametrize("claims", [1, 5])
def test_a_lower_number_that_is_seen_much_later(store, url, monkeypatch, claims):
    """However long an application's transaction stays open, what it has put is claimed some time after its end."""
    owner = dispatcher(store, now=None)
    with uncommitted(store, url, "first") as late:
        monkeypatch.setattr(lanes, "_TRANSACTION_SECONDS", -1.0)  # as if so much time went by between two claims
        for number in range(claims):
            one = message(f"other.{number}")
            put(store, one, now=None)
            assert ids(claim(store, owner, now=None)) == [one.id]
    assert ids(claim(store, owner, now=None)) == [late]


def test_a_lane_that_vanishes_while_it_is_made(store, monkeypatch):
    """Where another's new lane was counted on and is undone, the put is tried again, and stored once."""
    make, undone = lanes.Lanes._make, []

    def make_or_count_on_another(self, tx, names):
        if undone:
            make(self, tx, names)
        else:
            undone.append(names)

    monkeypatch.setattr(lanes.Lanes, "_make", make_or_count_on_another)
    one = message("new")
    put(store, one, now=None)
    assert undone and store.retried == 1
    assert ids(claim(store, dispatcher(store, now=None), now=None)) == [one.id]

"""Pruning on servers at the moment of a new use: nothing is lost."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import ap4r
from tests.stores.old_lanes import SCHEMA, Forgetting, make_full, make_old
from tests.support.databases import USER
from tests.support.factories import claim, dispatcher, ids, message, put

TRIES = 8


@pytest.fixture
def engine(url):
    """Return the application's own connections."""
    return create_engine(url, poolclass=NullPool)


@pytest.fixture
def careful(server, url, kind):
    """Set the server's default isolation level to repeatable read."""
    if kind != "postgresql":  # elsewhere it does so already
        yield
        return
    server.execute(f"ALTER ROLE {USER} SET default_transaction_isolation = 'repeatable read'")
    yield
    server.execute(f"ALTER ROLE {USER} RESET default_transaction_isolation")


@pytest.mark.timeout(120)
def test_a_queue_is_used_in_the_moment_it_would_be_forgotten(careful, store, opened, url, engine):
    """A message of the application's own transaction arrives, though it commits while its old queue is looked at."""
    store.prepare()
    make_full(engine)
    forgetting, sent = Forgetting(opened(url)), []
    for number in range(TRIES):
        make_old(engine, [f"old.{number}"])
        with ap4r.session(url) as handle, closing(engine.connect()) as connection, handle.transaction(connection):
            sent.append(handle.async_to("/work", queue=f"old.{number}"))
            forgetting.begin((number + 1) / (TRIES + 1))
        forgetting.end()
    owner = dispatcher(store, now=None)
    assert sorted(ids(claim(store, owner, 100, now=None))) == sorted(sent)


def test_a_record_that_a_repeat_lets_live_is_not_forgotten(store, url, engine):
    """A repeat of a message whose record was over finds it, and so does the next, though a prune came between."""
    store.prepare()

    def received(during=lambda: None):
        with ap4r.session(url) as handle, closing(engine.connect()) as connection:
            with handle.once(connection, key="order-12") as entry:
                during()
            return entry.first

    assert received()
    with engine.begin() as connection:
        connection.execute(SCHEMA.inbox.update().values(expires_at=int((time.time() - 1) * 1e6)))
    pruning = threading.Thread(target=store.prune)

    def prune_meanwhile():
        pruning.start()
        # Should it wait for our record, it goes on after us.
        pruning.join(0.5)

    assert not received(prune_meanwhile)
    pruning.join()
    assert not received()


@pytest.mark.parametrize("over", [3, 200])
def test_a_call_that_still_runs_holds_up_no_pruning(store, url, engine, over):
    """What is over is forgotten at once, while a handler is still in the block in which it notes what it received."""
    store.prepare()
    now_at = int((time.time() - 1) * 1e6)
    record = {"content": bytes(32), "recorded_at": now_at, "expires_at": now_at}
    with engine.begin() as connection:
        connection.execute(SCHEMA.inbox.insert(), [{"id": os.urandom(32), **record} for _ in range(over)])
    with ap4r.session(url) as handle, closing(engine.connect()) as connection:
        with handle.once(connection, key="order-12") as entry:
            assert store.prune() == over
        assert entry.first


@pytest.mark.parametrize("noticed", ["a connection that is new", "a minute later"])
def test_a_queue_that_a_failover_has_taken_along(store, opened, url, server, engine, noticed):
    """Where another server takes over that does not know of a new queue, what is put from then on arrives."""
    now = time.time()
    put(store, message("new"), now=now)
    with engine.begin() as connection:
        for table in (SCHEMA.lanes, SCHEMA.ready, SCHEMA.messages, SCHEMA.puts):
            connection.execute(table.delete())
    if noticed == "a minute later":
        now += 61
    else:
        server.end_sessions()
    one = message("new")
    put(store, one, now=now)
    other = opened(url)
    assert ids(claim(other, dispatcher(other, now=now), now=now)) == [one.id]

"""What hooks of the application's library say while a block ends: it goes with the commit, or comes after it."""

from __future__ import annotations

import contextlib

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import ConnectionUnfit
from tests.integration.foreign.subjects import Django
from tests.integration.foreign.test_sqlalchemy import Order
from tests.support.sink import MemorySink

BEFORE = ["before_flush", "after_flush", "before_commit"]


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def shop(request, make_shop):
    """A clean shop on each database."""
    return make_shop(request.param)


@pytest.fixture
def session(shop):
    """A Session of the application's."""
    engine = create_engine(shop.url, poolclass=NullPool)
    with Session(engine) as session:
        yield session
    engine.dispose()


def listen(session, name, work):
    """Run `work` at the first such event."""
    event.listen(session, name, lambda *given: work(), once=True)


@pytest.mark.parametrize("says", [False, True], ids=["only the hook", "the block too"])
@pytest.mark.parametrize("hook", BEFORE)
def test_what_a_hook_says_before_the_commit_goes_with_it(shop, session, hook, says):
    """The flush and the commit are the block's own, and the message is stored with the row."""
    elsewhere = MemorySink()
    with ap4r.session(elsewhere) as handle:
        listen(session, hook, lambda: handle.async_to("/hook"))
        with handle.transaction(session) as scope:
            assert scope.owns_commit
            session.add(Order(number=1))
            if says:
                handle.async_to("/block")
    assert (shop.orders, elsewhere.calls) == ([1], 0)
    assert shop.deliver() == (["/block", "/hook"] if says else ["/hook"])


@pytest.mark.parametrize("hook", BEFORE)
def test_what_a_hook_says_is_undone_with_the_rest(shop, session, hook):
    """Where the block's own commit fails, nothing of it is stored anywhere."""
    elsewhere = MemorySink()
    shop.execute("INSERT INTO orders VALUES (1)")
    with pytest.raises(Exception, match=r"orders|Duplicate"), ap4r.session(elsewhere) as handle:
        listen(session, hook, lambda: handle.async_to("/hook"))
        with handle.transaction(session):
            session.add(Order(number=1))
    session.rollback()
    assert (shop.deliver(), elsewhere.calls) == ([], 0)


@pytest.mark.parametrize("hook", BEFORE)
def test_a_block_within_an_open_transaction(shop, session, hook):
    """Its savepoint flushes too; the hook's message waits for the transaction around it."""
    elsewhere = MemorySink()
    for end in (session.rollback, session.commit):
        session.begin()
        with ap4r.session(elsewhere) as handle:
            listen(session, hook, lambda: handle.async_to("/hook"))
            with handle.transaction(session):
                session.add(Order(number=1))
                handle.async_to("/block")
        assert shop.orders == []
        end()
    assert (shop.orders, elsewhere.calls) == ([1], 0)
    assert "/block" in shop.deliver()


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_what_is_said_after_the_commit_follows_the_response(shop, session, fails):
    """The transaction is over, so the message is none of its own any more."""
    elsewhere = MemorySink()
    with contextlib.suppress(KeyError), ap4r.session(elsewhere) as handle:
        listen(session, "after_commit", lambda: handle.async_to("/after"))
        with handle.transaction(session):
            session.add(Order(number=1))
            session.flush()
            handle.async_to("/block")
        if fails:
            raise KeyError
    assert (shop.orders, shop.deliver()) == ([1], ["/block"])
    assert elsewhere.paths == ([] if fails else ["/after"])


def test_what_is_said_at_a_savepoints_release_is_refused(shop, session):
    """A Session tells of it by after_commit, takes no statement there, and its transaction may still be undone."""
    elsewhere, refused = MemorySink(), []

    def say():
        with pytest.raises(ConnectionUnfit, match="savepoint"):
            handle.async_to("/released")
        refused.append(True)

    session.begin()
    with ap4r.session(elsewhere) as handle:
        listen(session, "after_commit", say)
        with handle.transaction(session):
            session.add(Order(number=1))
            handle.async_to("/block")
    session.commit()
    assert (refused, elsewhere.calls, shop.deliver()) == ([True], 0, ["/block"])


def test_djangos_on_commit(shop):
    """What it says follows the response, after the commit of a block that owns it."""
    subject, elsewhere = Django(shop.url), MemorySink()
    with ap4r.session(elsewhere) as handle, handle.transaction(**subject.given):
        subject.order(1)
        handle.async_to("/block")
        subject.transaction.on_commit(lambda: handle.async_to("/after"), subject.alias)
    subject.close()
    assert (shop.orders, shop.deliver(), elsewhere.paths) == ([1], ["/block"], ["/after"])


def test_a_connections_commit_event_goes_with_it(shop):
    """SQLAlchemy's Connection tells before its COMMIT, and so the message is part of it."""
    engine, elsewhere = create_engine(shop.url, poolclass=NullPool), MemorySink()
    with engine.connect() as connection, ap4r.session(elsewhere) as handle:
        event.listen(engine, "commit", lambda *given: handle.async_to("/hook"), once=True)
        with handle.transaction(connection):
            connection.execute(text("INSERT INTO orders VALUES (1)"))
            handle.async_to("/block")
    engine.dispose()
    assert (shop.orders, shop.deliver(), elsewhere.calls) == ([1], ["/block", "/hook"], 0)

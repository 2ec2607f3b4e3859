"""Connections that are none, or are in no state to carry messages; and what was left open within a block."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import ConnectionUnfit
from tests.integration.foreign.subjects import PsycopgAutocommit
from tests.support.sink import MemorySink


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def shop(request, make_shop):
    """A clean shop on each database."""
    return make_shop(request.param)


@pytest.fixture
def handle():
    """A handle whose own store is elsewhere."""
    with ap4r.session(MemorySink()) as handle:
        yield handle


@pytest.mark.parametrize("name", ["transaction", "join", "once"])
def test_none_is_no_connection(handle, name):
    """It is a mistake of the caller's, and never read as if nothing had been given."""
    options = {"key": "1"} if name == "once" else {}
    with pytest.raises(ConnectionUnfit, match="it is None"), getattr(handle, name)(None, **options):
        raise AssertionError("the block must not run")


def test_a_pipeline_is_refused(make_shop, handle):
    """psycopg tells there of no statement's result in time."""
    subject = PsycopgAutocommit(make_shop("postgresql").url)
    with (
        subject.raw.pipeline(),
        pytest.raises(ConnectionUnfit, match="pipeline"),
        handle.transaction(subject.raw),
    ):
        raise AssertionError("the block must not run")
    subject.close()


@pytest.mark.parametrize("name", ["transaction", "join", "once"])
def test_a_session_that_does_not_begin_by_itself(shop, handle, name):
    """Without a transaction it is refused with what to do; with one it is as any other."""
    engine = create_engine(shop.url, poolclass=NullPool)
    options = {"key": "1"} if name == "once" else {}
    with Session(engine, autobegin=False) as session:
        with pytest.raises(ConnectionUnfit, match=r"begin\(\)"), getattr(handle, name)(session, **options):
            raise AssertionError("the block must not run")
        with session.begin(), getattr(handle, name)(session, **options):
            handle.async_to("/mail")
    engine.dispose()
    assert shop.deliver() == ["/mail"]


@pytest.mark.parametrize("outer", [False, True], ids=["owning", "within"])
@pytest.mark.parametrize("kind", ["session", "connection"])
def test_a_savepoint_left_open_is_released(shop, handle, kind, outer):
    """As a commit of SQLAlchemy's does."""
    engine = create_engine(shop.url, poolclass=NullPool)
    with Session(engine) if kind == "session" else engine.connect() as conn:
        if outer:
            held = conn.begin()
        with handle.transaction(conn):
            conn.begin_nested()
            conn.execute(text("INSERT INTO orders VALUES (1)"))
            handle.async_to("/mail")
            conn.begin_nested()
        if outer:
            held.commit()
    engine.dispose()
    assert (shop.orders, shop.deliver()) == ([1], ["/mail"])

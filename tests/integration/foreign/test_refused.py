"""Connections that are none, or are in no state to carry messages; and what was left open within a block."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import BlockUsed, ConnectionUnfit, SchemaMismatch, StoreUnavailable, TransactionLost
from tests.integration.foreign.subjects import PsycopgAutocommit, PyMySQL
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


@pytest.mark.parametrize("name", ["transaction", "once", "join", "group"])
def test_a_block_is_for_one_with(make_shop, handle, name):
    """Kept for a second time it is refused in words, and the first has done its work."""
    conn = sqlite3.connect(make_shop("sqlite").url.removeprefix("sqlite:///"))
    given = [] if name == "group" else [conn]
    block = getattr(handle, name.replace("group", "transaction"))(*given, **({"key": "1"} if name == "once" else {}))
    with block:
        handle.async_to("/mail")
    conn.commit()
    with pytest.raises((BlockUsed, ConnectionUnfit), match="for each `with`"), block:
        raise AssertionError("the block must not run")
    conn.close()


def test_a_database_that_no_command_can_name(make_shop, handle):
    """The error names the kind of URL instead, and what to connect to."""
    memory = sqlite3.connect(":memory:")
    with pytest.raises(SchemaMismatch, match="sqlite:///FILE, and connect") as caught, handle.transaction(memory):
        raise AssertionError("the block must not run")
    assert "--store sqlite:///:memory:" not in str(caught.value)
    memory.close()
    subject = PyMySQL(make_shop("mariadb").url)
    subject.url = subject.url._replace(database=None)
    nowhere = subject.connect()
    with pytest.raises(SchemaMismatch, match="/DATABASE, and connect"), handle.transaction(nowhere):
        raise AssertionError("the block must not run")
    nowhere.close()
    subject.close()


def test_what_is_lost_is_explained(make_shop, handle):
    """The error names what ends a transaction without looking like it, and is no store's where a connection failed."""
    conn = sqlite3.connect(make_shop("sqlite").url.removeprefix("sqlite:///"))
    with pytest.raises(TransactionLost, match=r"`with conn:`.*deadlock.*leave the ending to the block"):  # noqa: SIM117
        with handle.transaction(conn):
            handle.async_to("/mail")
            with conn:
                conn.execute("INSERT INTO orders VALUES (1)")
    conn.close()
    assert str(StoreUnavailable("a psycopg connection", "away", is_connection=True)) == "a psycopg connection: away"

"""Sessions that zope.sqlalchemy commits, as under pyramid_tm: a message is a write like any other."""

from __future__ import annotations

import pytest
import transaction
import zope.sqlalchemy
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import ConnectionUnfit
from tests.support.sink import MemorySink


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def shop(request, make_shop):
    """A clean shop on each database."""
    return make_shop(request.param)


@pytest.fixture
def engine(shop):
    """The application's engine."""
    engine = create_engine(shop.url, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def handle():
    """A handle whose own store is elsewhere."""
    with ap4r.session(MemorySink()) as handle:
        yield handle


def by_join(handle, session):
    """Join the session's transaction."""
    return handle.join(session)


def by_join_of_its_connection(handle, session):
    """Join through the Connection that the session works on."""
    return handle.join(session.connection())


def by_join_of_the_drivers(handle, session):
    """Join through the driver's own connection."""
    session.execute(text("DELETE FROM orders"))
    return handle.join(session.connection().connection.dbapi_connection)


def by_transaction(handle, session):
    """Begin a block, which is a savepoint here."""
    return handle.transaction(session)


WAYS = [by_join, by_join_of_its_connection, by_join_of_the_drivers, by_transaction]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, {"keep_session": True}, {"initial_state": "changed"}], ids=str)
def test_a_message_alone_is_committed(shop, engine, handle, options, way):
    """Nothing else was written, and the message is stored, however the session was registered."""
    with transaction.manager, Session(engine) as session:
        zope.sqlalchemy.register(session, **options)
        with way(handle, session):
            handle.async_to("/mail")
        assert shop.rows("messages") == 0
        transaction.commit()
    assert shop.deliver() == ["/mail"]


@pytest.mark.parametrize("way", WAYS)
def test_a_message_goes_with_the_rollback(shop, engine, handle, way):
    """What the manager aborts takes the message along."""
    session = Session(engine)
    zope.sqlalchemy.register(session)
    with pytest.raises(KeyError), transaction.manager, way(handle, session):
        handle.async_to("/mail")
        raise KeyError
    assert shop.rows("messages") == 0


def test_another_manager_and_a_factory(shop, engine, handle):
    """An application's own manager, and sessions that their factory registered, are notified too."""
    manager = transaction.TransactionManager()
    factory = scoped_session(sessionmaker(engine))
    zope.sqlalchemy.register(factory, transaction_manager=manager)
    for number in (1, 2):
        with manager, handle.join(factory):
            handle.async_to(f"/{number}")
    factory.remove()
    assert shop.deliver() == ["/1", "/2"]


@pytest.mark.parametrize("name", ["transaction", "join"])
def test_a_block_ends_nothing_there(shop, engine, handle, name):
    """The transaction manager ends it, also where the session was not used before."""
    session = Session(engine)
    zope.sqlalchemy.register(session)
    with transaction.manager:
        with getattr(handle, name)(session) as scope:
            assert not scope.owns_commit
            session.execute(text("INSERT INTO orders VALUES (1)"))
            handle.async_to("/mail")
        assert (shop.orders, shop.rows("messages")) == ([], 0)
    assert (shop.orders, shop.deliver()) == ([1], ["/mail"])


def test_once_is_remembered(shop, engine, handle):
    """A record of the inbox is a write too, where the handler wrote nothing."""
    session = Session(engine)
    zope.sqlalchemy.register(session)
    for is_first in (True, False):
        with transaction.manager, handle.once(session, key="one") as receipt:
            assert receipt.first is is_first


def test_a_session_that_is_read_only_is_refused(shop, engine, handle):
    """Nothing that is written on it would be committed, and the error says so."""
    session = Session(engine)
    zope.sqlalchemy.register(session, initial_state="readonly")
    with (
        transaction.manager,
        pytest.raises(ConnectionUnfit, match="read only"),
        handle.join(session),
    ):
        handle.async_to("/mail")
    assert shop.rows("messages") == 0

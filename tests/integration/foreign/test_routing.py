"""Sessions that work on several databases: a row and its message are in one, or the block says that they are not."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Delete, Insert, Integer, Update, create_engine, select, text
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import ConnectionUnfit
from tests.integration.foreign.test_sqlalchemy import Order
from tests.support.sink import MemorySink

Base = declarative_base()


class Elsewhere(Base):
    """A table of another database: of the same name, so that one shop is like the other."""

    __tablename__ = "orders"
    number = Column(Integer, primary_key=True)


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def shops(request, make_shop):
    """A leader and a follower of each kind; nothing is copied from one to the other."""
    return make_shop(request.param), make_shop(request.param, "follower")


@pytest.fixture
def engines(shops):
    """The application's engines."""
    engines = [create_engine(shop.url, poolclass=NullPool) for shop in shops]
    yield engines
    for engine in engines:
        engine.dispose()


@pytest.fixture
def handle():
    """A handle whose own store is elsewhere."""
    with ap4r.session(MemorySink()) as handle:
        yield handle


def flushing(session, clause):
    """Send to the leader what is flushed."""
    return session._flushing


def changing(session, clause):
    """Send to the leader what changes rows, as SQLAlchemy's documents had it."""
    return session._flushing or isinstance(clause, Update | Delete)


def writing(session, clause):
    """Send to the leader what writes."""
    return isinstance(clause, Insert | Update | Delete)


def routing(engines, leads):
    """Create a session of replicas."""

    class Routing(Session):
        def get_bind(self, mapper=None, *, clause=None, **more):
            return engines[0 if leads(self, clause) or self._flushing else 1]

    return Routing()


@pytest.mark.parametrize("leads", [flushing, changing, writing])
@pytest.mark.parametrize("name", ["transaction", "join"])
def test_messages_go_where_rows_go(shops, engines, handle, leads, name):
    """To the leader, by whichever rule the session finds it."""
    with routing(engines, leads) as session:
        with getattr(handle, name)(session):
            session.add(Order(number=1))
            handle.async_to("/mail")
        session.commit()
    leader, follower = shops
    assert (leader.orders, leader.deliver()) == ([1], ["/mail"])
    assert (follower.orders, follower.rows("messages")) == ([], 0)


def test_reading_elsewhere_divides_nothing(shops, engines, handle):
    """A follower that was only read from is no second COMMIT; MariaDB tells that only of one that takes no writes."""
    if engines[0].dialect.name == "mysql":
        pytest.skip("a server of the tests takes writes")
    with routing(engines, writing) as session:
        assert session.scalars(select(Order)).all() == []
        with handle.transaction(session):
            assert session.scalars(select(Order)).all() == []
            session.add(Order(number=1))
            handle.async_to("/mail")
    assert (shops[0].orders, shops[0].deliver()) == ([1], ["/mail"])


@pytest.mark.parametrize("when", ["before", "within", "at the flush"])
def test_two_commits_are_refused(shops, engines, handle, when):
    """Where two databases were written to, nothing is stored in either."""
    leader, follower = engines
    with Session(leader, binds={Elsewhere: follower}) as session:
        if when == "before":
            session.execute(text("INSERT INTO orders VALUES (2)"), bind_arguments={"mapper": Elsewhere})
        with pytest.raises(ConnectionUnfit, match="several databases"), handle.transaction(session):
            handle.async_to("/mail")
            session.add(Order(number=1))
            if when != "before":
                session.add(Elsewhere(number=2))
            if when == "within":
                session.flush()
    for shop in shops:
        assert (shop.orders, shop.rows("messages")) == ([], 0)


def test_two_commits_without_a_message_are_the_applications(shops, engines, handle):
    """Where nothing of ours is in the transaction, nothing is refused."""
    leader, follower = engines
    with Session(leader, binds={Elsewhere: follower}) as session, handle.transaction(session):
        session.add_all([Order(number=1), Elsewhere(number=2)])
    assert [shop.orders for shop in shops] == [[1], [2]]


def test_a_record_of_the_inbox_is_not_apart_either(shops, engines, handle):
    """What `once()` remembers stands in one COMMIT with what was done, or is refused."""
    leader, follower = engines
    with (
        Session(leader, binds={Elsewhere: follower}) as session,
        pytest.raises(ConnectionUnfit, match="several databases"),
        handle.once(session, key="1"),
    ):
        session.add(Elsewhere(number=2))
    assert (shops[1].orders, shops[0].rows("inbox")) == ([], 0)


def test_a_get_bind_that_fails_is_named(engines, handle):
    """A session that knows no database for our tables is refused, with its reason; one of shards too."""

    class Failing(Session):
        def get_bind(self, *given, **more):
            raise LookupError("no database for this")

    shards = ShardedSession(
        shard_chooser=lambda mapper, instance, clause=None: "one",
        identity_chooser=lambda *given, **more: [],
        execute_chooser=lambda context: [],
        shards={"one": engines[0]},
    )
    for session, reason in ((Failing(), "no database for this"), (shards, "AssertionError")):
        with session, pytest.raises(ConnectionUnfit, match=reason), handle.transaction(session):
            raise AssertionError("the block must not run")

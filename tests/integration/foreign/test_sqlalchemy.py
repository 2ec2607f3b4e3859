"""What is SQLAlchemy's own: autobegin, sessions within transactions of others, isolation levels, its own errors."""

from __future__ import annotations

import pytest
import sqlalchemy
from sqlalchemy import Column, Integer, create_engine, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, declarative_base, sessionmaker
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import ConnectionUnfit, StoreUnusable
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from tests.support.sink import MemorySink

Base = declarative_base()


class Order(Base):
    """The application's table, as its ORM sees it."""

    __tablename__ = "orders"
    number = Column(Integer, primary_key=True)


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


def test_autobegin_counts_as_no_transaction(shop, engine, handle):
    """What was added before the block is committed with it; documented."""
    with Session(engine) as session:
        session.add(Order(number=1))
        session.flush()
        session.add(Order(number=2))
        with handle.transaction(session) as scope:
            assert scope.owns_commit
            session.add(Order(number=3))
            handle.async_to("/mail")
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO orders VALUES (4)"))
        with handle.transaction(connection) as scope:
            assert scope.owns_commit
    assert shop.orders == [1, 2, 3, 4]
    assert shop.deliver() == ["/mail"]


def test_a_transaction_held_elsewhere_is_not_ended(shop, engine, handle):
    """Whether it was begun by `with`, into a variable, or by the sessionmaker."""
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO orders VALUES (1)"))
        with handle.transaction(connection) as scope:
            assert not scope.owns_commit
            handle.async_to("/1")
        assert shop.orders == []
    with engine.connect() as connection:
        held = connection.begin()
        with handle.transaction(connection) as scope:
            assert not scope.owns_commit
            handle.async_to("/2")
        held.rollback()
        with connection.begin(), handle.transaction(connection) as scope:
            assert not scope.owns_commit
            handle.async_to("/3")
    with sessionmaker(engine).begin() as session, handle.transaction(session) as scope:
        assert not scope.owns_commit
        handle.async_to("/4")
    assert shop.deliver() == ["/1", "/3", "/4"]


def test_a_session_in_the_transaction_of_its_connection_is_not_ended(shop, engine, handle):
    """As test suites bind it, so that everything is rolled back in the end."""
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection) as session:
            with handle.transaction(session) as scope:
                assert not scope.owns_commit
                session.add(Order(number=1))
                handle.async_to("/mail")
            session.scalars(sqlalchemy.select(Order)).all()
            with handle.transaction(session) as scope:
                assert not scope.owns_commit
            session.commit()
        outer.rollback()
    assert shop.orders == []
    assert shop.deliver() == []


def test_the_applications_own_error_stays_its_own(shop, engine, handle):
    """A constraint that its rows break is raised as SQLAlchemy raises it, and everything is undone."""
    shop.execute("INSERT INTO orders VALUES (1)")
    with Session(engine) as session:
        with pytest.raises(IntegrityError), handle.transaction(session):
            session.add(Order(number=1))
            handle.async_to("/mail")
        session.add(Order(number=1))
        with pytest.raises(IntegrityError):
            session.flush()
        with pytest.raises(ConnectionUnfit, match="failed"), handle.transaction(session):
            raise AssertionError("the block must not run")
        with pytest.raises(ConnectionUnfit, match="failed"):
            handle.join(session)
    assert shop.deliver() == []


def test_an_autocommit_isolation_level_is_refused(shop, engine, handle):
    """SQLAlchemy speaks of a transaction there, and each statement commits."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(ConnectionUnfit, match="autocommit"), handle.transaction(connection):
            raise AssertionError("the block must not run")
        connection.rollback()
        with pytest.raises(ConnectionUnfit, match="autocommit"):
            handle.join(connection)
    with (
        Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session,
        pytest.raises(ConnectionUnfit, match="autocommit"),
        handle.transaction(session),
    ):
        raise AssertionError("the block must not run")
    assert shop.rows("messages") == 0


def test_a_repeatable_read_snapshot_finds_a_lane_that_is_newer(shop, engine, handle):
    """A queue that others began to use meanwhile is known, or the database's own conflict tells to begin again."""
    if engine.dialect.name != "mysql":
        pytest.skip("the others refuse the whole transaction, as they do for any row")
    with Session(engine.execution_options(isolation_level="REPEATABLE READ")) as session:
        session.execute(text("SELECT * FROM orders")).all()
        with Session(engine) as other, handle.transaction(other):
            handle.async_to("/new-queue")
        with handle.transaction(session):
            handle.async_to("/new-queue")
    assert shop.rows("lanes") == 1
    assert shop.deliver() == ["/new-queue", "/new-queue"]


def test_two_transactions_use_one_queue_at_once(shop, engine, handle):
    """An uncommitted message blocks no other transaction from the same queue, once the queue is known."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with Session(engine) as session, handle.transaction(session):
        handle.async_to("/queue")
    for days in (0, 6):
        shop.execute(f"UPDATE {shop.schema.lanes.name} SET used_at = used_at - {days * 86_400_000_000}")
        with Session(engine) as one, Session(engine) as two:
            one.begin(), two.begin()
            with handle.join(one):
                handle.async_to("/queue")
            with handle.join(two):
                handle.async_to("/queue")
            two.commit(), one.commit()
    assert len(shop.deliver()) == 5


def test_listeners_on_all_engines_do_not_reach_a_drivers_connection(shop, handle):
    """An application that sends BEGIN from an event has it sent on its own engines, not on what it lends to ap4r."""
    if not shop.url.startswith("sqlite"):
        pytest.skip("the recipe is for SQLite")
    import sqlite3

    from sqlalchemy import Engine

    seen = []

    def begun(connection):
        seen.append(connection)

    event.listen(Engine, "begin", begun)
    event.listen(Engine, "connect", lambda *given: seen.append(given))
    connection = sqlite3.connect(shop.url.removeprefix("sqlite:///"))
    try:
        with handle.transaction(connection):
            handle.async_to("/mail")
        assert seen == []
    finally:
        event.remove(Engine, "begin", begun)
        connection.close()


def test_two_databases(make_shop, handle):
    """Each block's messages go with its own connection, nested or not."""
    one, two = make_shop("sqlite", "one"), make_shop("sqlite", "two")
    engines = [create_engine(shop.url, poolclass=NullPool) for shop in (one, two)]
    with Session(engines[0]) as first, Session(engines[1]) as second, handle.transaction(first) as outer:
        handle.async_to("/first")
        with handle.transaction(second) as inner:
            assert outer.owns_commit and inner.owns_commit
            handle.async_to("/second")
        with pytest.raises(KeyError), handle.transaction(second):
            handle.async_to("/dropped")
            raise KeyError
        handle.async_to("/first-again")
    assert one.deliver() == ["/first", "/first-again"]
    assert two.deliver() == ["/second"]
    for engine in engines:
        engine.dispose()


def test_sqlalchemy_1_is_refused(engine, handle, monkeypatch):
    """With its version."""
    with Session(engine) as session:
        monkeypatch.setattr(sqlalchemy, "__version__", "1.4.54")
        with pytest.raises(ConnectionUnfit, match=r"1\.4\.54 is too old"), handle.transaction(session):
            raise AssertionError("the block must not run")


def test_what_only_makes_connections_is_refused(engine, handle):
    """An Engine or a sessionmaker is near, and the error says what to give instead."""
    for near in (engine, sessionmaker(engine)):
        with pytest.raises(ConnectionUnfit, match="pass"), handle.transaction(near):
            raise AssertionError("the block must not run")


def test_what_is_asynchronous_is_refused(handle):
    """Sessions and connections of asyncio, however they are created."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    psycopg = pytest.importorskip("psycopg")
    kinds = [AsyncSession, AsyncConnection, psycopg.AsyncConnection]
    kinds += [type("Connection", (), {"__module__": name}) for name in ("aiosqlite.core", "asyncpg.connection")]
    for kind in kinds:
        with pytest.raises(ConnectionUnfit, match="asynchronous"), handle.transaction(kind.__new__(kind)):
            raise AssertionError("the block must not run")


def test_tables_without_transactions_are_refused(make_shop, handle, forget_tables):
    """MyISAM keeps what is rolled back."""
    shop = make_shop("mariadb")
    engine = create_engine(shop.url, poolclass=NullPool)
    shop.execute(f"ALTER TABLE {shop.schema.ready.name} ENGINE=MyISAM")
    try:
        with (
            Session(engine) as session,
            pytest.raises(StoreUnusable, match="InnoDB"),
            handle.transaction(session),
        ):
            raise AssertionError("the block must not run")
    finally:
        shop.execute(f"ALTER TABLE {shop.schema.ready.name} ENGINE=InnoDB")
        engine.dispose()


@pytest.mark.parametrize("session_made", [True, False], ids=["Session", "Connection"])
class TestSqliteBeginsLate:
    """pysqlite begins a transaction with the first change; what SQLAlchemy calls begun need not be so yet."""

    @staticmethod
    def _open(shop_url, session_made):
        engine = create_engine(shop_url)
        return Session(engine) if session_made else engine.connect()

    def test_a_message_after_a_rollback_is_part_of_what_follows(self, tmp_path, session_made):
        """A message goes with the transaction that is open when it is said, also where that has only read."""
        url = f"sqlite:///{tmp_path}/shop.db"
        open_store(url, Settings()).migrate()
        with self._open(url, session_made) as conn, ap4r.session(url) as handle:
            conn.begin()
            handle.join(conn)
            handle.async_to("/first")
            conn.commit()
            conn.execute(text("SELECT 1"))
            handle.async_to("/undone")
            conn.rollback()
        with create_engine(url).connect() as reading:
            assert reading.execute(text("SELECT count(*) FROM ap4r_messages")).scalar() == 1

    def test_a_group_within_leaves_to_a_savepoint_what_is_said_there(self, tmp_path, session_made):
        """A message that is said in the application's savepoint goes with it, also within `transaction()`."""
        url = f"sqlite:///{tmp_path}/shop.db"
        open_store(url, Settings()).migrate()
        with (
            self._open(url, session_made) as conn,
            ap4r.session(url) as handle,
            handle.transaction(conn),
            handle.transaction(),
        ):
            handle.async_to("/kept")
            point = conn.begin_nested()
            handle.async_to("/undone")
            point.rollback()
        with create_engine(url).connect() as reading:
            assert reading.execute(text("SELECT count(*) FROM ap4r_messages")).scalar() == 1

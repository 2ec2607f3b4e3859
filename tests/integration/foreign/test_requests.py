"""The application's transactions within requests: what the response has to do with them is nothing."""

from __future__ import annotations

import contextlib
import gc

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool
from werkzeug.test import Client

import ap4r
from ap4r.errors import ConfigError, ConnectionUnfit, TransactionOpen
from ap4r.middleware import AP4RMiddleware
from tests.integration.foreign.subjects import Django
from tests.support.sink import MemorySink


@pytest.fixture
def shop(make_shop):
    """A clean shop."""
    return make_shop("sqlite")


@pytest.fixture
def sessions(shop):
    """The application's scoped_session."""
    engine = create_engine(shop.url, poolclass=NullPool)
    sessions = scoped_session(sessionmaker(engine))
    yield sessions
    sessions.remove()
    engine.dispose()


@pytest.fixture
def sink():
    """The middleware's own store."""
    return MemorySink()


def order(sessions, number):
    """Write a row of the application's own."""
    sessions.execute(text(f"INSERT INTO orders VALUES ({number})"))


@pytest.mark.parametrize("status", ["200 OK", "500 Oh"])
def test_the_responses_verdict_is_nothing_to_the_block(shop, sessions, sink, status):
    """What the block has committed is delivered after a 500 too; what it rolled back is not after a 200."""

    def application(environ, start_response):
        handle = environ["ap4r"]
        with handle.transaction():
            order(sessions, 1)
            handle.async_to("/with-the-row")
        with contextlib.suppress(KeyError), handle.transaction():
            order(sessions, 2)
            handle.async_to("/without")
            raise KeyError
        sessions.begin()
        with handle.join():
            order(sessions, 3)
            handle.async_to("/joined")
        sessions.commit()
        handle.async_to("/with-the-response")
        start_response(status, [])
        return [b"x"]

    response = Client(AP4RMiddleware(application, store=sink, connection=lambda: sessions)).get("/")
    assert response.status == status
    assert shop.orders == [1, 3]
    assert shop.deliver() == ["/joined", "/with-the-row"]
    assert sink.paths == (["/with-the-response"] if status == "200 OK" else [])


def test_a_block_that_outlives_the_response_follows_its_own_end(shop, sessions, sink):
    """The response is not made to fail by it, nor the block by the response; after the verdict nothing is taken."""
    blocks = contextlib.ExitStack()

    def application(environ, start_response):
        handle = environ["ap4r"]
        blocks.enter_context(handle.transaction(sessions))
        order(sessions, 1)
        handle.async_to("/mail")
        start_response("200 OK", [])
        return [b"x"]

    assert Client(AP4RMiddleware(application, store=sink)).get("/").status_code == 200
    assert shop.orders == [] and shop.rows("messages") == 0
    blocks.close()
    assert shop.deliver() == ["/mail"]


def test_a_block_that_is_forgotten_is_rolled_back_and_told(shop, sessions, sink, caplog):
    """Row and message go together where a block on a connection is never left, and the log says why."""

    def application(environ, start_response):
        environ["ap4r"].transaction(sessions).__enter__()
        order(sessions, 1)
        environ["ap4r"].async_to("/mail")
        start_response("200 OK", [])
        return [b"x"]

    assert Client(AP4RMiddleware(application, store=sink)).get("/").status_code == 200
    gc.collect()
    sessions.close()
    assert shop.orders == [] and shop.rows("messages") == 0
    assert "a transaction() block was entered and never left" in caplog.text


def test_a_group_within_a_session_is_still_told_when_it_stays_open(sink):
    """Only blocks on a connection are exempt from the rule."""
    with pytest.raises(TransactionOpen), ap4r.session(sink) as handle:
        block = handle.transaction()
        block.__enter__()
        handle.async_to("/mail")


def test_a_wrong_connection_setting_is_reported(sink):
    """At the construction if it can be seen there, else in the handler's own line."""
    with pytest.raises(ConfigError, match="connection"):
        AP4RMiddleware(lambda environ, start_response: [], store=sink, connection=3)
    for connection, given, says in ((lambda: None, {}, "None"), (None, {"conn": 3, "using": "default"}, "either")):
        with (
            ap4r.session(sink, connection=connection) as handle,
            pytest.raises(ConnectionUnfit, match=says),
            handle.transaction(**given),
        ):
            raise AssertionError("the block must not run")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_flask_sqlalchemy(shop, sink):
    """`db.session`, with its teardown, and its Model."""
    flask = pytest.importorskip("flask")
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    db = flask_sqlalchemy.SQLAlchemy()
    app = flask.Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI=shop.url, SQLALCHEMY_ENGINE_OPTIONS={"poolclass": NullPool})
    db.init_app(app)

    class Order(db.Model):
        __tablename__ = "orders"
        number = db.Column(db.Integer, primary_key=True)

    @app.post("/<way>")
    def place(way):
        handle = flask.request.environ["ap4r"]
        if way == "joined":
            db.session.add(Order(number=3))
            with handle.join(db.session):
                handle.async_to("/joined")
            db.session.commit()
            return "joined"
        with handle.transaction():
            db.session.add(Order(number=1 if way == "good" else 2))
            handle.async_to(f"/{way}")
            if way == "bad":
                raise KeyError
        return "good"

    app.wsgi_app = AP4RMiddleware(app.wsgi_app, store=sink, connection=lambda: db.session)
    client = app.test_client()
    assert [client.post(f"/{way}").status_code for way in ("good", "bad", "joined")] == [200, 500, 200]
    assert shop.orders == [1, 3]
    assert shop.deliver() == ["/good", "/joined"]


@pytest.fixture
def django_alias(shop):
    """An alias of Django's."""
    subject = Django(shop.url)
    yield subject
    subject.close()


def test_django_atomic_requests(shop, sink, django_alias):
    """Under an atomic view the block is a savepoint; what rolls the view back takes its messages."""
    transaction, alias = django_alias.transaction, django_alias.alias
    with ap4r.session(sink, connection=alias) as handle:

        def view(number, fails):
            with handle.transaction() as scope:
                assert not scope.owns_commit
                django_alias.order(number)
                handle.async_to(f"/{number}")
            if fails:
                raise KeyError

        transaction.atomic(alias)(view)(1, False)
        with pytest.raises(KeyError):
            transaction.atomic(alias)(view)(2, True)
        with transaction.atomic(alias):
            view(3, False)
            transaction.set_rollback(True, alias)
        with handle.transaction() as scope:
            assert scope.owns_commit
            django_alias.order(4)
            handle.async_to("/4")
    assert shop.orders == [1, 4]
    assert shop.deliver() == ["/1", "/4"]


def test_djangos_own_connection_is_known(shop, sink, django_alias):
    """Given in the place of its alias, by a thread that owns it."""
    with ap4r.session(sink) as handle:
        with handle.transaction(django_alias.wrapper):
            handle.async_to("/mail")
        with pytest.raises(ConnectionUnfit, match="does not have this alias"), handle.transaction(using="nonsense"):
            raise AssertionError("the block must not run")
        with transaction_that_failed(django_alias), pytest.raises(ConnectionUnfit, match="failed"):
            handle.join(using=django_alias.alias)
    assert shop.deliver() == ["/mail"]


@contextlib.contextmanager
def transaction_that_failed(django_alias):
    """Open a block of Django's that can only be rolled back."""
    with django_alias.transaction.atomic(django_alias.alias):
        django_alias.transaction.set_rollback(True, django_alias.alias)
        yield

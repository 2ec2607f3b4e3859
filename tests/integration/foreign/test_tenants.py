"""PostgreSQL with a schema for each tenant: the tables are found with every search_path of the application."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import StoreUnusable
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from tests.integration.foreign.conftest import Shop
from tests.integration.foreign.subjects import Psycopg, Psycopg2
from tests.support.databases import shared_server
from tests.support.sink import MemorySink

TENANTS = ("t1", "t2")


@pytest.fixture
def url():
    """A database with a schema for each of two tenants; only ap4r's tables and one of the application's are public."""
    url = shared_server("postgresql").make("tenants")
    shop = Shop(url).make()
    shop.execute(*(f"CREATE SCHEMA {name} CREATE TABLE orders (number INTEGER PRIMARY KEY)" for name in TENANTS))
    shop.close()
    return url


@pytest.fixture
def handle():
    """A handle whose own store is elsewhere."""
    with ap4r.session(MemorySink()) as handle:
        yield handle


@pytest.mark.parametrize("driver", [Psycopg, Psycopg2])
@pytest.mark.parametrize("name", ["transaction", "join", "once"])
def test_each_tenant_in_turn(url, handle, forget_tables, driver, name):
    """One connection, another search_path for each transaction: rows go to the tenant, messages to the one store."""
    subject = driver(url)
    for number, path in enumerate((*TENANTS, "t1, public", "nowhere", "public")):
        subject.run(f"SET search_path = {path}")
        subject.commit()
        options = {"key": path} if name == "once" else {}
        with getattr(handle, name)(subject.raw, **options):
            handle.async_to(f"/{number}")
            if path != "nowhere":
                subject.order(number)
        subject.commit()
    subject.close()
    shop = Shop(url)
    assert shop.deliver() == [f"/{number}" for number in range(5)]
    assert shop.orders == [4]
    shop.close()


def test_a_session_with_the_path_of_a_tenant(url, handle, forget_tables):
    """SET LOCAL within the block, as many applications do it, is nothing to the message."""
    engine = create_engine(url, poolclass=NullPool)
    with Session(engine) as session:
        for name in TENANTS:
            with handle.transaction(session):
                session.execute(text(f"SET LOCAL search_path = {name}"))
                session.execute(text("INSERT INTO orders VALUES (1)"))
                handle.async_to(f"/{name}")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM t1.orders, t2.orders")).scalar() == 1
    engine.dispose()
    shop = Shop(url)
    assert shop.deliver() == ["/t1", "/t2"]
    shop.close()


def test_tenants_with_tables_of_their_own(url, handle, forget_tables):
    """Where each schema has ap4r's tables, those in the search_path are meant, on one connection too."""
    for name in TENANTS:
        made = Shop(f"{url}?options=-csearch_path%3D{name}")
        open_store(made.url, Settings(store=made.url)).migrate()
        made.close()
    subject = Psycopg(url)
    for path in (*TENANTS, "public"):
        subject.run(f"SET search_path = {path}")
        subject.commit()
        with handle.transaction(subject.raw):
            handle.async_to(f"/{path}")
    subject.run("SET search_path = nowhere")
    subject.commit()
    with pytest.raises(StoreUnusable, match="schemas public, t1, t2"), handle.transaction(subject.raw):
        raise AssertionError("the block must not run")
    subject.close()
    for path in (*TENANTS, "public"):
        shop = Shop(f"{url}?options=-csearch_path%3D{path}")
        assert shop.deliver() == [f"/{path}"]
        shop.close()

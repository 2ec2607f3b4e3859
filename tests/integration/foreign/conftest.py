"""Databases that hold an application's own table and ap4r's beside it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.settings.settings import Settings
from ap4r.storage.app_connection import tables
from ap4r.storage.open import open_store
from ap4r.storage.schema.tables import Schema
from tests.integration.foreign.subjects import SUBJECTS, Subject
from tests.support.databases import shared_server, without_tls
from tests.support.sink import MemorySink

_owners = itertools.count()


class Shop:
    """One database of a shop: its orders, and what a dispatcher would deliver from there."""

    def __init__(self, url: str, prefix: str = "ap4r_") -> None:
        self.url = url
        self._engine = create_engine(url, poolclass=NullPool)
        self._store = open_store(url, Settings(store=url, table_prefix=prefix))
        self.schema = Schema(prefix)

    def make(self) -> Shop:
        """Create all tables."""
        self._store.migrate()
        engine = " ENGINE=InnoDB" if self._engine.dialect.name == "mysql" else ""
        self.execute(f"CREATE TABLE orders (number INTEGER PRIMARY KEY){engine}")
        return self

    def execute(self, *statements: str) -> None:
        """Run statements in another session."""
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def clear(self) -> None:
        """Delete every row."""
        self.execute("DELETE FROM orders", *(f"DELETE FROM {name}" for name in self.schema.metadata.tables))

    @property
    def orders(self) -> list[int]:
        """The rows that the application has committed."""
        with self._engine.connect() as connection:
            return list(connection.execute(text("SELECT number FROM orders ORDER BY number")).scalars())

    def rows(self, table: str) -> int:
        """Count the committed rows of a table of ap4r's."""
        with self._engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {self.schema.prefix}{table}")).scalar_one())

    def deliver(self) -> list[str]:
        """Claim as a dispatcher does; return the paths that it would call."""
        owner = f"dispatcher-{next(_owners)}"
        self._store.register(owner, owner, "1", "")
        return sorted(lease.message.target.url for lease in self._store.claim(owner, 100).leases)

    def register(self, bell: str) -> None:
        """Register a dispatcher with a doorbell."""
        self._store.register(f"dispatcher-{next(_owners)}", "one", "1", bell)

    def close(self) -> None:
        """Release everything."""
        self._store.close()
        self._engine.dispose()


@pytest.fixture(scope="session")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Shop]]:
    """Yield a shop on each kind of database; its tables are made once, under another name once more."""
    made: dict[tuple[str, str], Shop] = {}

    def of(database: str, name: str = "shop") -> Shop:
        if (database, name) not in made:
            if database == "sqlite":
                url = f"sqlite:///{tmp_path_factory.mktemp('shop') / f'{name}.db'}"
            else:
                url = without_tls(shared_server(database).make(name))
            made[database, name] = Shop(url).make()
        made[database, name].clear()
        return made[database, name]

    yield of
    for shop in made.values():
        shop.close()


class Case:
    """One connection of the application on its shop, and a session of ap4r's that has another store altogether."""

    def __init__(self, kind: str, shop: Shop, subject: Subject) -> None:
        self.kind, self.shop, self.subject = kind, shop, subject
        self.database = SUBJECTS[kind][0]
        self.elsewhere = MemorySink()

    @contextlib.contextmanager
    def session(self, **settings: Any) -> Iterator[Any]:
        """Yield a handle whose own store is elsewhere."""
        with ap4r.session(self.elsewhere, **settings) as handle:
            yield handle


@pytest.fixture(params=sorted(SUBJECTS))
def case(request: pytest.FixtureRequest, make_shop: Callable[..., Shop]) -> Iterator[Case]:
    """Yield each kind of connection on a clean shop."""
    database, open_subject = SUBJECTS[request.param]
    shop = make_shop(database)
    subject = open_subject(shop.url)
    yield Case(request.param, shop, subject)
    with contextlib.suppress(Exception):
        subject.rollback()
    with contextlib.suppress(Exception):
        subject.close()
    if hasattr(subject, "engine"):
        subject.engine.dispose()


@pytest.fixture
def forget_tables() -> None:
    """Forget which tables were found right."""
    tables._known.clear()

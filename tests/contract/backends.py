"""The stores that must all keep the one contract. A further database is a further class and its name in the lists.

For an external store, CONTRACT_BACKEND=module:name names what creates a `Backend` in a test's folder; then
only that store is tried.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from ap4r.storage.schema.tables import VERSION, Schema
from ap4r.storage.store import Store
from tests.support.databases import shared_server, without_tls
from tests.support.memory_store import MemoryDatabase


class Backend(Protocol):
    """One database of one test, its tables made and empty."""

    def open(self, **settings: Any) -> Store:
        """Return a store on the database, as good as one of another process."""


class SharedBackend(Backend, Protocol):
    """A database that other processes can open by its URL, and that keeps tables which Alembic makes and moves."""

    url: str

    def clear(self) -> None:
        """Leave a database without tables. Call it before the first store is opened."""

    def engine(self) -> Engine:
        """Return access to the tables without any code of the stores."""


class Sqlite:
    """A file of its own. Making its tables takes longer than copying a file in which they are made."""

    def __init__(self, folder: Path, template: Path) -> None:
        self._path = folder / "store.db"
        self.url = f"sqlite:///{self._path}"
        shutil.copyfile(template, self._path)

    def open(self, **settings: Any) -> Store:
        """Return a store on the file."""
        return open_store(self.url, Settings(store=self.url, **settings))

    def clear(self) -> None:
        """Remove the file."""
        self._path.unlink()

    def engine(self) -> Engine:
        """Return access to the tables."""
        return create_engine(self.url, poolclass=NullPool)


def sqlite_template(folder: Path) -> Path:
    """Create a file with the tables in it."""
    path = folder / "template.db"
    store = open_store(f"sqlite:///{path}", Settings())
    store.prepare()
    store.close()
    return path


class OnServer:
    """A database of a server that all tests share. The tables stay, their rows go with each test."""

    #: Databases by kind whose tables are made.
    _made: set[str] = set()

    def __init__(self, kind: str) -> None:
        self._server = shared_server(kind)
        self._kind = kind
        self.url = without_tls(self._server.url("kept"))
        if kind not in self._made or not self._emptied():
            self._server.make("kept")
            store = self.open()
            store.prepare()
            store.close()
            self._made.add(kind)

    def open(self, **settings: Any) -> Store:
        """Return a store on the database."""
        return open_store(self.url, Settings(store=self.url, **settings))

    def clear(self) -> None:
        """Create the database again."""
        self._server.make("kept")

    def engine(self) -> Engine:
        """Return access to the tables."""
        return create_engine(self.url, poolclass=NullPool)

    def _emptied(self) -> bool:
        """Delete every row; tell whether only the tables of this version are there."""
        schema = Schema("ap4r_")
        with self.engine().begin() as connection:
            found = set(inspect(connection).get_table_names())
            if found != {schema.version_table, *schema.metadata.tables}:
                return False
            for table in schema.metadata.tables.values():
                connection.execute(table.delete())
            # Lanes are numbered from 1 again, as in a database that is new.
            if self._kind == "mariadb":
                connection.execute(text(f"ALTER TABLE {schema.lanes.name} AUTO_INCREMENT = 1"))
            else:
                connection.execute(text(f"TRUNCATE {schema.lanes.name} RESTART IDENTITY"))
            connection.execute(text(f"UPDATE {schema.version_table} SET version_num = '{VERSION}'"))
        return True


#: Each makes the database of one test from its folder and from what all tests share.
SHARED: dict[str, Callable[[Path, Path], SharedBackend]] = {
    "sqlite": Sqlite,
    "mariadb": lambda folder, template: OnServer("mariadb"),
    "postgresql": lambda folder, template: OnServer("postgresql"),
}
BACKENDS: dict[str, Callable[[Path, Path], Backend]] = {**SHARED, "memory": lambda folder, template: MemoryDatabase()}


def in_memory(folder: Path) -> Backend:
    """Create the backend of the in-memory store, as an example for external stores."""
    return MemoryDatabase()


def _only(name: str) -> None:
    module, _, attribute = name.partition(":")
    make: Callable[[Path], Backend] = getattr(importlib.import_module(module), attribute)
    SHARED.clear()
    BACKENDS.clear()
    BACKENDS[attribute.lower()] = lambda folder, template: make(folder)


if os.environ.get("CONTRACT_BACKEND"):
    _only(os.environ["CONTRACT_BACKEND"])

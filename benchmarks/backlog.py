"""Stores with any number of messages in them, filled by the databases themselves because putting would take hours."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table, create_engine, text
from sqlalchemy.pool import NullPool

from ap4r.message.message import Message, Put, new_id
from ap4r.message.target import Target
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from ap4r.storage.schema.tables import Schema
from ap4r.storage.sql_store import SqlStore
from tests.support.databases import KINDS

_ROWS_A_TRANSACTION = 250_000
_APART = 300  #: microseconds
_YEAR = 365 * 86_400 * 1_000_000
#: How each database counts from :first to :last, and makes 16 bytes of the number `i`.
_NUMBERS = {
    "mysql": ("seq_{first}_to_{last}", "seq", "UNHEX(LPAD(HEX(i), 32, '0'))"),
    "postgresql": ("generate_series({first}, {last}) AS s(seq)", "seq", "decode(lpad(to_hex(i), 32, '0'), 'hex')"),
}


class Database(Protocol):
    """Where stores can be made."""

    def url(self, name: str) -> str:
        """Create an empty database of that name, and return its URL."""

    def backlog(self, name: str) -> AbstractContextManager[Backlog]:
        """Return an empty store of that name, deleted afterwards."""


class _Files:
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def url(self, name: str) -> str:
        return f"sqlite:///{self._folder}/{name}.db"

    @contextmanager
    def backlog(self, name: str) -> Iterator[Backlog]:
        yield from _opened(self.url(name))


class _Server:
    def __init__(self, server: Any) -> None:
        self._server = server

    def url(self, name: str) -> str:
        return str(self._server.make(f"bench_{name}"))

    @contextmanager
    def backlog(self, name: str) -> Iterator[Backlog]:
        yield from _opened(self.url(name))
        self._server.execute(f"DROP DATABASE bench_{name}")


def _opened(url: str) -> Iterator[Backlog]:
    # A claim that waits for others on a busy machine is to be measured, not refused.
    store = open_store(url, Settings(store=url, store_deadline_seconds=120.0))
    try:
        store.prepare()
        yield Backlog(store, url)
    finally:
        store.close()


@contextmanager
def open_database(kind: str) -> Iterator[Database]:
    """Yield a place for SQLite files, or a server of that kind."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
            yield _Files(folder)
        return
    server = KINDS[kind]()
    try:
        server.start()
        yield _Server(server)
    finally:
        server.remove()


class Backlog:
    """The messages of one store, of which anybody may open the URL."""

    def __init__(self, store: SqlStore, url: str) -> None:
        self.store = store
        self._schema = Schema("ap4r_")
        self._engine: Engine = create_engine(url, poolclass=NullPool)
        self.url = url
        self._next = 1

    def fill(
        self, lanes: int, *, ready: int = 0, scheduled: int = 0, dead: int = 0, puts: int = 0, analyze: bool = True
    ) -> None:
        """Add so many messages in each state, in the lanes in turn, the oldest first, and remembered puts.

        :param analyze: let the database renew its figures.
        """
        self._template = self._make_lanes(lanes)
        now_at = time.time_ns() // 1_000
        counters = {"attempt": "0", "failures": "0", "crashes": "0"}
        in_lane = {"id": "{id}", "lane": f"i % {lanes} + 1", **counters}
        # As if they had been put one after the other, so many a second, until just now.
        first_at = now_at - (self._next + ready) * _APART
        self._add(self._schema.ready, ready, {**in_lane, "position": f"{first_at} + i * {_APART}"})
        self._add(self._schema.scheduled, scheduled, {**in_lane, "due_at": f"{now_at + _YEAR} + i"})
        death = {"died_at": str(now_at), "reason": "'status'", "status": "500", "detail": "{blob}", "called": "{true}"}
        self._add(self._schema.dead, dead, {**in_lane, **death})
        self._add(self._schema.puts, puts, {"id": "{id}", "stored_at": f"{first_at} + i * {_APART}"})
        if analyze:
            self.analyze()

    @contextmanager
    def open_transaction(self) -> Iterator[None]:
        """Keep a transaction open that has read and written nothing of ours, as an application might."""
        if self._engine.dialect.name == "sqlite":
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM ap4r_lanes").fetchone()
                yield
            return
        begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
        if self._engine.dialect.name == "postgresql":
            begin = "BEGIN ISOLATION LEVEL REPEATABLE READ"
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(begin)
            connection.exec_driver_sql("SELECT count(*) FROM ap4r_lanes").scalar()
            yield
            connection.exec_driver_sql("ROLLBACK")

    def _make_lanes(self, lanes: int) -> bytes:
        made = [
            Message(id=new_id(), queue=f"queue.{number}", target=Target("/work", "app"), body=b"x" * 100)
            for number in range(lanes)
        ]
        for start in range(0, len(made), 1_000):
            self.store.put(Put(new_id(), tuple(made[start : start + 1_000])))
        with self._engine.begin() as connection:
            connection.execute(self._schema.ready.delete())
        return bytes.fromhex(made[0].id.replace("-", ""))

    def _add(self, table: Table, count: int, values: dict[str, str]) -> None:
        add: Callable[[Connection, Table, range, dict[str, str]], None] = (
            self._add_by_hand if self._engine.dialect.name == "sqlite" else self._add_by_server
        )
        for first in range(self._next, self._next + count, _ROWS_A_TRANSACTION):
            numbers = range(first, min(first + _ROWS_A_TRANSACTION, self._next + count))
            with self._engine.begin() as connection:
                add(connection, table, numbers, values)
            if count > _ROWS_A_TRANSACTION:
                done = numbers.stop - self._next
                print(
                    f"  {self._engine.dialect.name}: {table.name}, {done:,} of {count:,}", file=sys.stderr, flush=True
                )
        self._next += count

    def _add_by_server(self, connection: Connection, table: Table, numbers: range, values: dict[str, str]) -> None:
        source, number, key = _NUMBERS[self._engine.dialect.name]
        counted = f"(SELECT {number} AS i FROM {source.format(first=numbers.start, last=numbers.stop - 1)}) AS n"
        others = [column.name for column in self._schema.messages.columns if column.name != "id"]
        copied = ", ".join(f"m.{name}" for name in others)
        connection.execute(
            text(
                f"INSERT INTO ap4r_messages (id, {', '.join(others)}) SELECT {key}, {copied} FROM {counted} "
                "CROSS JOIN ap4r_messages AS m WHERE m.id = :template"
            ),
            {"template": self._template},
        )
        special = {"id": key, "blob": "''", "true": "true"}
        made = ", ".join(value.format(**special) for value in values.values())
        connection.execute(text(f"INSERT INTO {table.name} ({', '.join(values)}) SELECT {made} FROM {counted}"))

    def _add_by_hand(self, connection: Connection, table: Table, numbers: range, values: dict[str, str]) -> None:
        names = [column.name for column in self._schema.messages.columns]
        [row] = connection.exec_driver_sql(
            f"SELECT {', '.join(names)} FROM ap4r_messages WHERE id = ?", (self._template,)
        ).all()
        rest = tuple(value for name, value in zip(names, row, strict=True) if name != "id")
        marks = ", ".join("?" * len(rest))
        others = ", ".join(name for name in names if name != "id")
        keys = ((number.to_bytes(16, "big"), *rest) for number in numbers)
        driver: Any = connection.connection.dbapi_connection
        driver.executemany(f"INSERT INTO ap4r_messages (id, {others}) VALUES (?, {marks})", keys)
        special = {"id": "?", "blob": "x''", "true": "1"}
        made = [value.format(**special).replace("i %", "? %").replace("+ i", "+ ?") for value in values.values()]

        def parameters(number: int) -> tuple[object, ...]:
            return tuple(
                number.to_bytes(16, "big") if value == "?" else number
                for value in made
                for _ in range(value.count("?"))
            )

        statement = f"INSERT INTO {table.name} ({', '.join(values)}) VALUES ({', '.join(made)})"
        driver.executemany(statement, (parameters(number) for number in numbers))

    def analyze(self) -> None:
        """Update the database's statistics, as a server does by itself within minutes."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("VACUUM ANALYZE")
            elif connection.dialect.name == "mysql":
                names = ", ".join(self._schema.metadata.tables)
                connection.exec_driver_sql(f"ANALYZE TABLE {names}").all()

"""SQLite: one file, many processes; WAL, fsync at every commit, one writer at a time."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Table, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ap4r.errors import StoreError, StoreUnavailable
from ap4r.settings.store_url import SQLITE
from ap4r.storage.access.transaction import MICROSECONDS
from ap4r.storage.databases import dialects
from ap4r.storage.databases.database import Rows, delete_and_insert
from ap4r.storage.databases.sqlite import error_codes
from ap4r.storage.databases.sqlite.bulk import delete_rows, insert_rows
from ap4r.storage.databases.sqlite.connection import open_file, rows_of, run, run_each, run_many
from ap4r.storage.databases.sqlite.write_lock import Writing
from ap4r.storage.schema import version
from ap4r.storage.schema.tables import Schema

_log = logging.getLogger("ap4r.storage")

_READERS = 4
_NANOSECONDS = 1_000_000_000 // MICROSECONDS

#: Engines of a parent process are kept, because closing their connections would affect the parent's transactions.
_inherited: list[_Opened] = []


class _Opened(NamedTuple):
    """An engine, the file and process that it was made for, and the connection that writes."""

    engine: Engine
    file: tuple[int, int] | None  # None if there is none yet
    pid: int
    idle: list[Connection]  # empty while a transaction uses the connection


class SqliteDatabase:
    """One SQLite file.

    :param url: `sqlite:///` and a path; absolute paths have four slashes.
    """

    clock_sql = None
    conflicts_at_commit = False
    connections = 0  # every connection leads to the same file
    moves_at_once = False

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self._name = url
        self._path = os.path.abspath(url.removeprefix(SQLITE).partition("?")[0])
        self._deadline_seconds = deadline_seconds
        self._opening: dict[int, threading.Lock] = {}  # by process: the parent's may have been locked at the fork
        self._opened: _Opened | None = None

    @property
    def name(self) -> str:
        """The URL."""
        return self._name

    def engine(self) -> Engine:
        """Return the engine, which opens connections: a new one after a fork, after `close`, or for another file."""
        opened = self._opened
        if opened is not None and opened.pid == os.getpid() and opened.file == _identity(self._path):
            return opened.engine
        with self._opening_lock():
            file, pid, opened = _identity(self._path), os.getpid(), self._opened
            if opened is not None and (opened.pid != pid or opened.file != file):
                if opened.pid == pid and opened.file is not None:
                    _log.warning("store %s: its file was replaced or removed; the new one is used", self._name)
                self._discard_engine()
                opened = None
            if opened is None:
                opened = self._opened = _Opened(self._make_engine(), file, pid, [])
            return opened.engine

    @property
    def engine_in_use(self) -> Engine | None:
        """The engine that was made last, in this process; `Writing` and `reading` check that it belongs to the file."""
        opened = self._opened
        return opened.engine if opened is not None and opened.pid == os.getpid() else None

    def is_there(self) -> bool:
        """Return whether the file exists."""
        return os.path.exists(self._path)

    def how_to_make(self, command: str) -> str:
        """Return that there is no file, or no folder for it either, and the command that creates it."""
        folder = os.path.dirname(self._path)
        if os.path.isdir(folder):
            return f"there is no such file; create it with: {command}"
        return f"{error_codes.no_folder(folder)} && {command}"

    def local_address(self, within_seconds: float) -> str:
        """Return "": a file is not reached over a network."""
        return ""

    def writing(self, within_seconds: float) -> AbstractContextManager[Connection]:
        """Open a write transaction at once (BEGIN IMMEDIATE), so that it cannot fail halfway because of a lock."""
        return Writing(self, self._path, within_seconds)

    @contextmanager
    def reading(self, within_seconds: float) -> Iterator[Connection]:
        """Open a connection on which each statement is committed by itself. Readers never wait for writers."""
        with self.engine().connect() as connection:
            yield connection

    def locate(self, connection: Connection, schema: Schema) -> None:
        """Do nothing: a file has one place for tables."""

    def make_tables(self, schema: Schema) -> None:
        """Create the file, and create or migrate the tables under the write lock; a second process finds them done."""
        if not self.is_there():
            try:
                open_file(self._path, self._deadline_seconds, "rwc").close()
            except sqlite3.Error as error:
                raise self.meaning_of_driver(error) or StoreUnavailable(self._name, str(error)) from error
        with self.writing(self._deadline_seconds) as connection:
            version.create_or_migrate(connection, schema)

    def now_at(self, connection: Connection) -> int:
        """Return this host's clock, which is also the file's."""
        return time.time_ns() // _NANOSECONDS

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT OR IGNORE."""
        return dialects.sqlite_insert_new(table)

    def delete(self, connection: Connection, table: Table, rows: Rows) -> int:
        """Delete rows, many in one statement."""
        return delete_rows(connection, table, rows)

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert rows, many in one statement."""
        insert_rows(connection, table, rows)

    def move(self, connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows) -> None:
        """Delete rows, and insert them into another table."""
        delete_and_insert(self, connection, source, key, target, rows)

    def rows(self, connection: Connection, statement: str, values: Any) -> Sequence[Any]:
        """Run a query in the driver's syntax."""
        return rows_of(connection, statement, values)

    def run_each(self, connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
        """Run statements in the driver's syntax, one after the other."""
        run_each(connection, steps)

    def run_many(self, connection: Connection, statement: str, rows: Sequence[Any]) -> None:
        """Run a statement in the driver's syntax for each of several rows."""
        run_many(connection, statement, rows)

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Translate SQLite's result code. Every error but a lock closes the file, to open a repaired one."""
        return self.meaning_of_driver(error.orig, committing=error.statement == "COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._opening_lock():
            self._discard_engine()

    def meaning_of_driver(self, error: BaseException | None, *, committing: bool = False) -> StoreError | None:
        """Translate the code of an error that SQLAlchemy has not wrapped."""
        meaning = error_codes.meaning_of(error, self._name, self._path, committing=committing)
        if meaning is not None and not error_codes.is_locked(error):
            self.close()
        return meaning

    def _opening_lock(self) -> threading.Lock:
        return self._opening.setdefault(os.getpid(), threading.Lock())

    def _discard_engine(self) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if opened.pid == os.getpid():
            _close_idle(opened)
            opened.engine.dispose()
        else:
            _inherited.append(opened)

    def take_writer(self) -> Connection:
        """Return the connection that writes; the caller alone uses it until `give_back`."""
        opened = self._opened
        # Whether it still belongs to the file is checked under the lock.
        if opened is not None and opened.idle and opened.pid == os.getpid():
            try:
                return opened.idle.pop()
            except IndexError:  # `close` was there first
                pass
        connection = self.engine().connect()
        # `Writing` retries for the lock itself, and nothing else within a transaction waits.
        run(connection, "PRAGMA busy_timeout = 0")
        return connection

    def give_back(self, connection: Connection) -> None:
        """Accept the connection that writes, for the next caller."""
        opened = self._opened
        if opened is None or opened.engine is not connection.engine or connection.invalidated:
            connection.close()
            return
        opened.idle.append(connection)
        if opened is not self._opened:
            _close_idle(opened)

    def _make_engine(self) -> Engine:
        return create_engine(
            "sqlite+pysqlite://",
            creator=lambda: open_file(self._path, self._deadline_seconds),
            poolclass=QueuePool,
            pool_size=_READERS + 1,
            max_overflow=_READERS,
            pool_timeout=self._deadline_seconds,
        )


def _close_idle(opened: _Opened) -> None:
    while opened.idle:
        with suppress(IndexError):  # a transaction uses it, and will close it
            opened.idle.pop().close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)

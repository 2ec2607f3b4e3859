"""SQLite: one file, many processes; WAL, fsync at every commit, one writer at a time."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Table, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ap4r.errors import StoreError, StoreUnavailable
from ap4r.storage import sqlite_errors, versions
from ap4r.storage.sql import spelling
from ap4r.storage.sql.database import Rows, move_in_turn
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import MICROSECONDS
from ap4r.storage.sqlite_driver import driver_of, open_file, roll_back, rows_of, run, run_many
from ap4r.storage.sqlite_rows import delete_rows, insert_rows

_log = logging.getLogger("ap4r.storage")

PREFIX = "sqlite:///"
_READERS = 4
_ASK_AGAIN_SECONDS = 0.001
_NANOSECONDS = 1_000_000_000 // MICROSECONDS

#: By process and file. One for all stores of a process on one file: waiting for a lock in memory is fair and wakes at
#: once, waiting for SQLite's own is neither.
_turns: dict[tuple[int, str], threading.Lock] = {}
#: What a parent process has opened is kept, for closing their connections would take part in what the parent does.
_inherited: list[_Opened] = []


class _Opened(NamedTuple):
    """An engine, what it was made for, and the connection that writes."""

    engine: Engine
    file: tuple[int, int] | None  # None where there is none yet
    pid: int
    idle: list[Connection]  # it stands here while nobody writes, and is taken out by whoever does


class SqliteDatabase:
    """One SQLite file.

    :param url: `sqlite:///` and a path; absolute paths have four slashes.
    """

    clock_sql = None
    conflicts_at_commit = False
    moves_at_once = False

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self._name = url
        self._path = os.path.abspath(url.removeprefix(PREFIX).partition("?")[0])
        self._deadline_seconds = deadline_seconds
        self._opening: dict[int, threading.Lock] = {}  # by process: a parent's may have been held at the fork
        self._opened: _Opened | None = None

    @property
    def name(self) -> str:
        """The URL."""
        return self._name

    def engine(self) -> Engine:
        """Give what makes the connections: another one after a fork, after `close`, or for another file."""
        opened = self._opened
        if opened is not None and opened.pid == os.getpid() and opened.file == _identity(self._path):
            return opened.engine
        with self._opening_lock():
            file, pid, opened = _identity(self._path), os.getpid(), self._opened
            if opened is not None and (opened.pid != pid or opened.file != file):
                if opened.pid == pid and opened.file is not None:
                    _log.warning("store %s: its file was replaced or taken away; what is there now is used", self._name)
                self._let_go()
                opened = None
            if opened is None:
                opened = self._opened = _Opened(self._make_engine(), file, pid, [])
            return opened.engine

    def is_there(self) -> bool:
        """Tell whether there is a file."""
        return os.path.exists(self._path)

    @contextmanager
    def writing(self, within_seconds: float) -> Iterator[Connection]:
        """Open a write transaction at once (BEGIN IMMEDIATE), so that it cannot fail halfway for a lock."""
        give_up_at = time.monotonic() + within_seconds
        place = (os.getpid(), self._path)
        turn = _turns.get(place) or _turns.setdefault(place, threading.Lock())
        if not turn.acquire(timeout=max(0.0, within_seconds)):
            raise StoreUnavailable(self._name, f"others wrote for longer than {within_seconds:g} s")
        try:
            connection = self._take_writer()
            try:
                self._begin(connection, give_up_at)
                if connection.engine is not self.engine():
                    raise StoreUnavailable(self._name, "its file was replaced just now")
                yield connection
                run(connection, "COMMIT")
            except BaseException:
                roll_back(connection)
                raise
            finally:
                self._give_back(connection)
        finally:
            turn.release()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection on which each statement stands for itself."""
        with self.engine().connect() as connection:
            yield connection

    def make_tables(self, schema: Schema) -> None:
        """Make the file, and make or move the tables under the write lock; whoever comes second finds them made."""
        if not self.is_there():
            try:
                open_file(self._path, self._deadline_seconds, "rwc").close()
            except sqlite3.Error as error:
                raise self._meaning_of(error) or StoreUnavailable(self._name, str(error)) from error
        with self.writing(self._deadline_seconds) as connection:
            versions.make_or_move(connection, schema)

    def now_at(self, connection: Connection) -> int:
        """Read this host's clock: it is the file's too."""
        return time.time_ns() // _NANOSECONDS

    def insert_new(self, table: Table) -> Any:
        """Give an INSERT OR IGNORE."""
        return spelling.sqlite_insert_new(table)

    def delete(self, connection: Connection, table: Table, rows: Rows) -> int:
        """Delete rows, many in one statement."""
        return delete_rows(connection, table, rows)

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert rows, many in one statement."""
        insert_rows(connection, table, rows)

    def move(self, connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows) -> None:
        """Delete rows, and insert them elsewhere."""
        move_in_turn(self, connection, source, key, target, rows)

    def rows(self, connection: Connection, statement: str, values: Any) -> Sequence[Any]:
        """Run a query of the driver's."""
        return rows_of(connection, statement, values)

    def run_many(self, connection: Connection, statement: str, rows: Sequence[Any]) -> None:
        """Run a statement of the driver's for each of several rows."""
        run_many(connection, statement, rows)

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Read SQLite's result code. Anything but a lock closes the file, so that a mended one is opened anew."""
        return self._meaning_of(error.orig, committing=error.statement == "COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._opening_lock():
            self._let_go()

    def _meaning_of(self, error: BaseException | None, *, committing: bool = False) -> StoreError | None:
        meaning = sqlite_errors.meaning_of(error, self._name, self._path, committing=committing)
        if meaning is not None and not sqlite_errors.is_locked(error):
            self.close()
        return meaning

    def _opening_lock(self) -> threading.Lock:
        return self._opening.setdefault(os.getpid(), threading.Lock())

    def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if opened.pid == os.getpid():
            _close_idle(opened)
            opened.engine.dispose()
        else:
            _inherited.append(opened)

    def _take_writer(self) -> Connection:
        """Give the connection that writes; it is the caller's alone until it is given back."""
        opened = self._opened
        # Whether that is still the file is looked at when the lock is held.
        if opened is not None and opened.pid == os.getpid() and opened.idle:
            with suppress(IndexError):  # `close` was there first
                return opened.idle.pop()
        connection = self.engine().connect()
        # `_begin` asks for the lock by itself, and within a transaction nothing else is waited for.
        run(connection, "PRAGMA busy_timeout = 0")
        return connection

    def _give_back(self, connection: Connection) -> None:
        opened = self._opened
        if connection.invalidated or opened is None or opened.engine is not connection.engine:
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
            pool_reset_on_return=None,
        )

    def _begin(self, connection: Connection, give_up_at: float) -> None:
        # SQLite itself asks for the lock ever more seldom, up to ten times a second, and so never gives it to whoever
        # has waited long while others come and go. Asking at an even pace gives each the same chance.
        driver = driver_of(connection)
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not sqlite_errors.is_locked(error) or time.monotonic() >= give_up_at:
                    raise self._meaning_of(error) or StoreUnavailable(self._name, str(error)) from error
            time.sleep(random.uniform(0.5, 1.5) * _ASK_AGAIN_SECONDS)


def _close_idle(opened: _Opened) -> None:
    while opened.idle:
        with suppress(IndexError):  # somebody writes with it, and will close it
            opened.idle.pop().close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)

"""SQLite: one file, many processes; WAL, fsync at every commit, one writer at a time."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, bindparam, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ap4r.errors import StoreError, StoreUnavailable
from ap4r.storage import sqlite_errors, versions
from ap4r.storage.sql import spelling
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import MICROSECONDS

_log = logging.getLogger("ap4r.storage")

PREFIX = "sqlite:///"
_READERS = 4
_ASK_AGAIN_SECONDS = 0.001

#: By process and file. One for all stores of a process on one file: waiting for a lock in memory is fair and wakes at
#: once, waiting for SQLite's own is neither.
_writers: dict[tuple[int, str], threading.Lock] = {}
#: Engines of a parent process are kept, for closing their connections would take part in what the parent does.
_inherited: list[Engine] = []


class SqliteDatabase:
    """One SQLite file.

    :param url: `sqlite:///` and a path; absolute paths have four slashes.
    """

    clock_sql = None
    conflicts_at_commit = False

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self._name = url
        self._path = os.path.abspath(url.removeprefix(PREFIX).partition("?")[0])
        self._deadline_seconds = deadline_seconds
        self._opening: dict[int, threading.Lock] = {}  # by process: a parent's may have been held at the fork
        self._engine: Engine | None = None
        self._pid = 0
        self._file: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The URL."""
        return self._name

    def engine(self) -> Engine:
        """Give what makes the connections: another one after a fork, after `close`, or for another file."""
        with self._opening_lock():
            file = _identity(self._path)
            if self._engine is not None and (self._pid != os.getpid() or file != self._file):
                if self._pid == os.getpid() and self._file is not None:
                    _log.warning("store %s: its file was replaced or taken away; what is there now is used", self._name)
                self._let_go()
            if self._engine is None:
                self._engine, self._file, self._pid = self._make_engine(), file, os.getpid()
            return self._engine

    def is_there(self) -> bool:
        """Tell whether there is a file."""
        return os.path.exists(self._path)

    @contextmanager
    def writing(self, within_seconds: float) -> Iterator[Connection]:
        """Open a write transaction at once (BEGIN IMMEDIATE), so that it cannot fail halfway for a lock."""
        give_up_at = time.monotonic() + within_seconds
        writer = _writers.setdefault((os.getpid(), self._path), threading.Lock())
        if not writer.acquire(timeout=max(0.0, within_seconds)):
            raise StoreUnavailable(self._name, f"others wrote for longer than {within_seconds:g} s")
        try:
            with self.engine().connect() as connection:
                self._begin(connection, give_up_at)
                try:
                    if connection.engine is not self.engine():
                        raise StoreUnavailable(self._name, "its file was replaced just now")
                    yield connection
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    _roll_back(connection)
                    raise
        finally:
            writer.release()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection on which each statement stands for itself."""
        with self.engine().connect() as connection:
            yield connection

    def make_tables(self, schema: Schema) -> None:
        """Make the file, and make or move the tables under the write lock; whoever comes second finds them made."""
        if not self.is_there():
            try:
                self._connect("rwc").close()
            except sqlite3.Error as error:
                raise self._meaning_of(error) or StoreUnavailable(self._name, str(error)) from error
        with self.writing(self._deadline_seconds) as connection:
            if versions.may_move(versions.found_version(connection, schema)):
                versions.upgrade(connection, schema)

    def now_at(self, connection: Connection) -> int:
        """Read this host's clock: it is the file's too."""
        return time.time_ns() // (1_000_000_000 // MICROSECONDS)

    def insert_new(self, table: Table) -> Any:
        """Give an INSERT OR IGNORE."""
        return spelling.sqlite_insert_new(table)

    def delete(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Delete rows one by one: there is no way to go."""
        statement = table.delete()
        for column in rows[0]:
            statement = statement.where(table.c[column] == bindparam(f"b_{column}"))
        connection.execute(statement, [{f"b_{column}": value for column, value in row.items()} for row in rows])

    def insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; there is no way to go."""
        connection.execute(table.insert(), [dict(row) for row in rows])

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
        engine, self._engine = self._engine, None
        if engine is None:
            return
        if self._pid == os.getpid():
            engine.dispose()
        else:
            _inherited.append(engine)

    def _make_engine(self) -> Engine:
        return create_engine(
            "sqlite+pysqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=_READERS + 1,
            max_overflow=_READERS,
            pool_timeout=self._deadline_seconds,
            pool_reset_on_return=None,
        )

    def _connect(self, mode: str = "rw") -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{Path(self._path).as_uri()}?mode={mode}",
            uri=True,
            timeout=self._deadline_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # Turning WAL on needs the file for itself for a moment and does not wait for it: try within the deadline.
            give_up_at = time.monotonic() + self._deadline_seconds
            while True:
                try:
                    connection.execute("PRAGMA journal_mode=WAL")
                    break
                except sqlite3.OperationalError as error:
                    if not sqlite_errors.is_locked(error) or time.monotonic() > give_up_at:
                        raise
                    time.sleep(0.005)
            connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self, connection: Connection, give_up_at: float) -> None:
        # SQLite itself asks for the lock ever more seldom, up to ten times a second, and so never gives it to whoever
        # has waited long while others come and go. Asking at an even pace gives each the same chance.
        driver = cast(sqlite3.Connection, connection.connection.dbapi_connection)
        driver.execute("PRAGMA busy_timeout=0")
        try:
            while True:
                try:
                    driver.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if not sqlite_errors.is_locked(error) or time.monotonic() >= give_up_at:
                        raise self._meaning_of(error) or StoreUnavailable(self._name, str(error)) from error
                time.sleep(random.uniform(0.5, 1.5) * _ASK_AGAIN_SECONDS)
        finally:
            driver.execute(f"PRAGMA busy_timeout={int(self._deadline_seconds * 1000)}")


def _roll_back(connection: Connection) -> None:
    # SQLite has rolled back by itself after some errors; there is then nothing to roll back.
    driver = connection.connection.dbapi_connection
    if driver is not None and driver.in_transaction:
        try:
            driver.rollback()
        except sqlite3.Error:
            connection.invalidate()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)

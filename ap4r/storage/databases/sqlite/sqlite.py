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
from ap4r.storage.databases.database import Rows, move_in_turn
from ap4r.storage.databases.sqlite import error_codes
from ap4r.storage.databases.sqlite.bulk import delete_rows, insert_rows
from ap4r.storage.databases.sqlite.connection import open_file, rows_of, run, run_each, run_many
from ap4r.storage.databases.sqlite.write_lock import Writing
from ap4r.storage.schema import version
from ap4r.storage.schema.tables import Schema

_log = logging.getLogger("ap4r.storage")

_READERS = 4
_NANOSECONDS = 1_000_000_000 // MICROSECONDS

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
    connections = 0  # all lead to the same file
    moves_at_once = False

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self._name = url
        self._path = os.path.abspath(url.removeprefix(SQLITE).partition("?")[0])
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

    @property
    def engine_in_use(self) -> Engine | None:
        """The engine that was made last, in this process; `Writing` and `reading` look whether it is of the file."""
        opened = self._opened
        return opened.engine if opened is not None and opened.pid == os.getpid() else None

    def is_there(self) -> bool:
        """Tell whether there is a file."""
        return os.path.exists(self._path)

    def how_to_make(self, command: str) -> str:
        """Return that there is no file, or no folder for it either, and what to type."""
        folder = os.path.dirname(self._path)
        if os.path.isdir(folder):
            return f"there is no such file; make it with: {command}"
        return f"{error_codes.no_folder(folder)} && {command}"

    def local_address(self, within_seconds: float) -> str:
        """Return nothing: a file is reached over no network."""
        return ""

    def writing(self, within_seconds: float) -> AbstractContextManager[Connection]:
        """Open a write transaction at once (BEGIN IMMEDIATE), so that it cannot fail halfway for a lock."""
        return Writing(self, self._path, within_seconds)

    @contextmanager
    def reading(self, within_seconds: float) -> Iterator[Connection]:
        """Give a connection on which each statement stands for itself. Reading waits for nobody."""
        with self.engine().connect() as connection:
            yield connection

    def locate(self, connection: Connection, schema: Schema) -> None:
        """Do nothing: there is one place only."""

    def make_tables(self, schema: Schema) -> None:
        """Make the file, and make or move the tables under the write lock; whoever comes second finds them made."""
        if not self.is_there():
            try:
                open_file(self._path, self._deadline_seconds, "rwc").close()
            except sqlite3.Error as error:
                raise self.meaning_of_driver(error) or StoreUnavailable(self._name, str(error)) from error
        with self.writing(self._deadline_seconds) as connection:
            version.make_or_move(connection, schema)

    def now_at(self, connection: Connection) -> int:
        """Read this host's clock: it is the file's too."""
        return time.time_ns() // _NANOSECONDS

    def insert_new(self, table: Table) -> Any:
        """Give an INSERT OR IGNORE."""
        return dialects.sqlite_insert_new(table)

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

    def run_each(self, connection: Connection, steps: Sequence[tuple[str, Any]]) -> None:
        """Run statements of the driver's, one after the other."""
        run_each(connection, steps)

    def run_many(self, connection: Connection, statement: str, rows: Sequence[Any]) -> None:
        """Run a statement of the driver's for each of several rows."""
        run_many(connection, statement, rows)

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Read SQLite's result code. Anything but a lock closes the file, so that a mended one is opened anew."""
        return self.meaning_of_driver(error.orig, committing=error.statement == "COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._opening_lock():
            self._let_go()

    def meaning_of_driver(self, error: BaseException | None, *, committing: bool = False) -> StoreError | None:
        """Read the code of an error that no SQLAlchemy has wrapped."""
        meaning = error_codes.meaning_of(error, self._name, self._path, committing=committing)
        if meaning is not None and not error_codes.is_locked(error):
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

    def take_writer(self) -> Connection:
        """Give the connection that writes; it is the caller's alone until it is given back."""
        opened = self._opened
        # Whether that is still the file is looked at when the lock is held.
        if opened is not None and opened.idle and opened.pid == os.getpid():
            try:
                return opened.idle.pop()
            except IndexError:  # `close` was there first
                pass
        connection = self.engine().connect()
        # `Writing` asks for the lock by itself, and within a transaction nothing else is waited for.
        run(connection, "PRAGMA busy_timeout = 0")
        return connection

    def give_back(self, connection: Connection) -> None:
        """Take back the connection that writes, for the next who asks."""
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
        with suppress(IndexError):  # somebody writes with it, and will close it
            opened.idle.pop().close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)

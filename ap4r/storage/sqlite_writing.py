"""One write transaction on a SQLite file: it waits for its turn, begins, and commits or rolls back."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from types import TracebackType
from typing import Protocol

from sqlalchemy import Connection, Engine

from ap4r.errors import StoreError, StoreUnavailable
from ap4r.storage import sqlite_errors
from ap4r.storage.sql.database import RolledBack
from ap4r.storage.sqlite_driver import driver_of, roll_back, run

_ASK_AGAIN_SECONDS = 0.001

#: By process and file. One for all stores of a process on one file: waiting for a lock in memory is fair and wakes at
#: once, waiting for SQLite's own is neither.
_turns: dict[tuple[int, str], threading.Lock] = {}


class Writable(Protocol):
    """The file's database, as far as writing needs it."""

    @property
    def name(self) -> str:
        """The URL, for errors."""

    def engine(self) -> Engine:
        """Give what makes the connections to the file that is there now."""

    def take_writer(self) -> Connection:
        """Give the connection that writes."""

    def give_back(self, connection: Connection) -> None:
        """Take it back."""

    def meaning_of_driver(self, error: BaseException) -> StoreError | None:
        """Say what an error of the driver's means for the caller."""


class Writing:
    """A write transaction as a context: committed on a clean exit, rolled back on an exception.

    A class, for a generator in its place costs every put some microseconds.
    """

    __slots__ = ("_connection", "_database", "_path", "_turn", "_within_seconds")

    _connection: Connection
    _turn: threading.Lock

    def __init__(self, database: Writable, path: str, within_seconds: float) -> None:
        """Do nothing yet.

        :param within_seconds: how long to wait for others that write.
        """
        self._database, self._path, self._within_seconds = database, path, within_seconds

    def __enter__(self) -> Connection:
        """Wait for the turn, and begin.

        :raises StoreUnavailable: others wrote for too long.
        :raises RolledBack: the file is not what it was.
        """
        database, within_seconds = self._database, self._within_seconds
        give_up_at = time.monotonic() + within_seconds
        place = (os.getpid(), self._path)
        turn = self._turn = _turns.get(place) or _turns.setdefault(place, threading.Lock())
        if not turn.acquire(timeout=max(0.0, within_seconds)):
            raise StoreUnavailable(database.name, f"others wrote for longer than {within_seconds:g} s")
        try:
            connection = self._connection = database.take_writer()
            try:
                self._begin(connection, give_up_at)
                if connection.engine is not database.engine():
                    raise RolledBack(database.name, "its file was replaced just now")
            except BaseException:
                self._undo()
                raise
        except BaseException:
            turn.release()
            raise
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back, and let the next one write.

        :raises DBAPIError: the driver's, of the COMMIT; it is rolled back.
        """
        try:
            if kind is not None:
                self._undo()
                return
            try:
                run(self._connection, "COMMIT")
            except BaseException:
                self._undo()
                raise
            self._database.give_back(self._connection)
        finally:
            self._turn.release()

    def _undo(self) -> None:
        try:
            roll_back(self._connection)
        finally:
            self._database.give_back(self._connection)

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
                    database = self._database
                    raise database.meaning_of_driver(error) or StoreUnavailable(database.name, str(error)) from error
            time.sleep(random.uniform(0.5, 1.5) * _ASK_AGAIN_SECONDS)

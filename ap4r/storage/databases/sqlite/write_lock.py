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
from ap4r.storage.databases.database import RolledBack
from ap4r.storage.databases.sqlite import error_codes
from ap4r.storage.databases.sqlite.connection import driver_of, roll_back, run

_ASK_AGAIN_SECONDS = 0.001

_FORK_WAITS_SECONDS = 5.0

#: By process and file. One for all stores of a process on one file: waiting for a lock in memory is fair and wakes at
#: once, waiting for SQLite's own is neither. A thread may take one again: should an exception of a signal's handler
#: come between its taking and what sees to its release, that thread at least is not shut out for good.
_turns: dict[tuple[int, str], threading.RLock] = {}
#: Those that a thread holds which forks.
_held_for_fork: list[threading.RLock] = []


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

    def __init__(self, database: Writable, path: str, within_seconds: float) -> None:
        """Do nothing yet.

        :param within_seconds: how long to wait for others that write.
        """
        self._database, self._path, self._within_seconds = database, path, within_seconds
        self._connection: Connection | None = None
        self._turn: threading.RLock | None = None

    def __enter__(self) -> Connection:
        """Wait for the turn, and begin.

        :raises StoreUnavailable: others wrote for too long.
        :raises RolledBack: the file is not what it was.
        """
        database, within_seconds = self._database, self._within_seconds
        give_up_at = time.monotonic() + within_seconds
        place = (os.getpid(), self._path)
        turn = _turns.get(place) or _turns.setdefault(place, threading.RLock())
        if not turn.acquire(timeout=max(0.0, within_seconds)):
            raise StoreUnavailable(database.name, f"others wrote for longer than {within_seconds:.3g} s")
        self._turn = turn
        try:
            connection = self._connection = database.take_writer()
            self._begin(connection, give_up_at)
            if connection.engine is not database.engine():
                raise RolledBack(database.name, "its file was replaced just now")
        except BaseException:
            self._leave()
            raise
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back, and let the next one write.

        :raises DBAPIError: the driver's, of the COMMIT; it is rolled back.
        """
        try:
            if kind is None and self._connection is not None:
                run(self._connection, "COMMIT")
        finally:
            self._leave()

    def __del__(self) -> None:
        # An exception of a signal's handler came before the first line of `__exit__`.
        if self._connection is not None or self._turn is not None:
            self._leave()

    def _leave(self) -> None:
        """Undo what was not committed, and let the next one write."""
        connection, self._connection = self._connection, None
        turn, self._turn = self._turn, None
        try:
            if connection is not None:
                try:
                    roll_back(connection)
                finally:
                    self._database.give_back(connection)
        finally:
            if turn is not None:
                turn.release()

    def _begin(self, connection: Connection, give_up_at: float) -> None:
        # SQLite itself asks for the lock ever more seldom, up to ten times a second, and so never gives it to whoever
        # has waited long while others come and go. Asking at an even pace gives each the same chance.
        driver = driver_of(connection)
        if driver.in_transaction:
            # Whoever used it last was interrupted before it could say how that was to end.
            roll_back(connection)
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not error_codes.is_locked(error) or time.monotonic() >= give_up_at:
                    database = self._database
                    raise database.meaning_of_driver(error) or StoreUnavailable(database.name, str(error)) from error
            time.sleep(random.uniform(0.5, 1.5) * _ASK_AGAIN_SECONDS)


def _wait_for_writers() -> None:
    # SQLite notes in the process's memory what is locked. A child that was forked within a transaction of another
    # thread's would take that for a lock of its own, which nobody ever releases.
    give_up_at = time.monotonic() + _FORK_WAITS_SECONDS
    for (pid, _), turn in list(_turns.items()):
        if pid == os.getpid() and turn.acquire(timeout=max(0.0, give_up_at - time.monotonic())):
            _held_for_fork.append(turn)


def _let_writers_on() -> None:
    while _held_for_fork:
        _held_for_fork.pop().release()


os.register_at_fork(before=_wait_for_writers, after_in_parent=_let_writers_on, after_in_child=_held_for_fork.clear)

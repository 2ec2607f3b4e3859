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

_RETRY_LOCK_SECONDS = 0.001

_FORK_WAITS_SECONDS = 5.0

#: By process and file, shared by all stores of a process on one file: a lock in memory is fair and wakes the next
#: thread at once, SQLite's own lock does neither. It is reentrant: if a signal handler raises between acquiring it and
#: the code that releases it, at least that thread is not locked out for good.
_turns: dict[tuple[int, str], threading.RLock] = {}
#: The locks that the forking thread holds during the fork.
_held_for_fork: list[threading.RLock] = []


class Writable(Protocol):
    """The part of the file's database that writing needs."""

    @property
    def name(self) -> str:
        """The URL, for errors."""

    def engine(self) -> Engine:
        """Return the engine for the file that is there now."""

    def take_writer(self) -> Connection:
        """Return the connection that writes."""

    def give_back(self, connection: Connection) -> None:
        """Accept the connection for the next caller."""

    def meaning_of_driver(self, error: BaseException) -> StoreError | None:
        """Return the store error for a driver's error, or None if the statement is at fault."""


class Writing:
    """A write transaction as a context: committed on a clean exit, rolled back on an exception.

    A class, because a generator in its place costs every put some microseconds.
    """

    __slots__ = ("_connection", "_database", "_path", "_turn", "_within_seconds")

    def __init__(self, database: Writable, path: str, within_seconds: float) -> None:
        """Do nothing yet.

        :param within_seconds: how long to wait for other writers.
        """
        self._database, self._path, self._within_seconds = database, path, within_seconds
        self._connection: Connection | None = None
        self._turn: threading.RLock | None = None

    def __enter__(self) -> Connection:
        """Wait for the turn, and begin.

        :raises StoreUnavailable: other writers took too long.
        :raises RolledBack: the file was replaced.
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
        """Commit, or roll back, and release the lock for the next writer.

        :raises DBAPIError: the driver's error at COMMIT; the transaction is rolled back.
        """
        try:
            if kind is None and self._connection is not None:
                run(self._connection, "COMMIT")
        finally:
            self._leave()

    def __del__(self) -> None:
        # A signal handler raised before the first line of `__exit__`.
        if self._connection is not None or self._turn is not None:
            self._leave()

    def _leave(self) -> None:
        """Undo what was not committed, and release the lock for the next writer."""
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
        # SQLite itself tries for the lock ever more rarely, up to ten times a second, and so may never get it for a
        # thread that has waited long while others come and go. An even pace gives each the same chance.
        driver = driver_of(connection)
        if driver.in_transaction:
            # The last user was interrupted before it could commit or roll back.
            roll_back(connection)
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not error_codes.is_locked(error) or time.monotonic() >= give_up_at:
                    database = self._database
                    raise database.meaning_of_driver(error) or StoreUnavailable(database.name, str(error)) from error
            time.sleep(random.uniform(0.5, 1.5) * _RETRY_LOCK_SECONDS)


def _wait_for_writers() -> None:
    # SQLite records in the process's memory what is locked. A child that was forked within a transaction of another
    # thread would treat that as a lock of its own, which is never released.
    give_up_at = time.monotonic() + _FORK_WAITS_SECONDS
    for (pid, _), turn in list(_turns.items()):
        if pid == os.getpid() and turn.acquire(timeout=max(0.0, give_up_at - time.monotonic())):
            _held_for_fork.append(turn)


def _release_writers() -> None:
    while _held_for_fork:
        _held_for_fork.pop().release()


os.register_at_fork(before=_wait_for_writers, after_in_parent=_release_writers, after_in_child=_held_for_fork.clear)

"""Django's connection of an alias. The application has imported Django; this module does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.base import Savepoint
from ap4r.storage.app_connection.borrowed_connection import borrowed
from ap4r.storage.app_connection.driver import Driver
from ap4r.storage.app_connection.drivers import driver_of, is_lost


class _RollBack(Exception):
    """Raised to make `atomic` roll back."""


class _AtomicSavepoint:
    """A block of Django's `atomic` within another one."""

    is_active = True

    def __init__(self, atomic: Any) -> None:
        self._atomic = atomic
        atomic.__enter__()

    def release(self) -> None:
        """Leave the block cleanly."""
        self._atomic.__exit__(None, None, None)

    def rollback(self) -> None:
        """Leave the block with an exception."""
        self._atomic.__exit__(_RollBack, _RollBack(), None)


class DjangoConnection:
    """A `ForeignConnection` on `django.db.connections[using]`.

    Begins with `atomic`, so that Django refuses a commit in between.
    """

    def __init__(self, using: str, wrapper: object = None) -> None:
        """Look the alias up, unless its wrapper is given.

        :raises ConnectionUnfit: Django is not in use, or does not have this alias or this database.
        """
        django_db = sys.modules.get("django.db")
        self.what = f"Django's connection {using!r}"
        if django_db is None:
            raise ConnectionUnfit(self.what, "this process does not use Django; pass a connection instead of an alias")
        self._transaction = sys.modules["django.db.transaction"]
        try:
            self._wrapper: Any = wrapper or django_db.connections[using]
        except django_db.utils.ConnectionDoesNotExist as error:
            raise ConnectionUnfit(self.what, "DATABASES does not have this alias") from error
        self._using = using
        self._atomics: list[Any] = []

    @property
    def name(self) -> str:
        """The URL without a password."""
        return self._driver.place().name

    @property
    def dialect(self) -> str:
        """The kind of database."""
        return self._driver.dialect

    @property
    def database(self) -> Hashable | None:
        """A key that identifies the database."""
        return self._driver.place().database

    @property
    def owner(self) -> object:
        """Django's wrapper, of which each thread has its own."""
        return self._wrapper

    @property
    def is_owner_thread(self) -> bool:
        """As Django reports it."""
        try:
            self._wrapper.validate_thread_sharing()
        except Exception:  # noqa: BLE001 - Django's DatabaseError, which is not imported here
            return False
        return True

    @property
    def has_failed(self) -> bool:
        """As Django reports it, and the driver for errors that were caught without `atomic`."""
        if self._wrapper.in_atomic_block and self._wrapper.needs_rollback:
            return True
        return self._wrapper.connection is not None and self._driver.has_failed

    def is_lost_after(self, error: BaseException) -> bool:
        """Check the error and the connection."""
        return is_lost(driver_of(self._wrapper.connection), error)

    @property
    def is_open(self) -> bool:
        """Return whether an `atomic` block, or the code that turned autocommit off, will end it."""
        return self._wrapper.in_atomic_block or not self._wrapper.get_autocommit()

    @property
    def is_within_transaction(self) -> bool:
        """As Django reports it."""
        return self.is_open

    @property
    def open_savepoint(self) -> object:
        """Return the names of Django's savepoints."""
        return tuple(self._wrapper.savepoint_ids)

    def check(self) -> None:
        """Refuse a connection that is another thread's, closed within its block, or failed."""
        if not self.is_owner_thread:
            raise ConnectionUnfit(self.what, "it belongs to another thread; pass the alias instead of the connection")
        if self._wrapper.in_atomic_block and (self._wrapper.connection is None or self._wrapper.closed_in_transaction):
            raise ConnectionUnfit(self.what, "it was closed within its atomic block")
        if self.has_failed:
            raise ConnectionUnfit(self.what, "its transaction has failed; leave the atomic block first")
        self._wrapper.ensure_connection()
        if self._driver.problem is not None:
            raise ConnectionUnfit(self.what, self._driver.problem)

    def connection(self) -> Connection:
        """Return a SQLAlchemy connection that runs statements on the driver's connection under Django's."""
        return borrowed(self._driver)

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a Core statement."""
        return self.connection().execute(statement, parameters)

    def begin(self) -> None:
        """Enter an `atomic` block."""
        atomic = self._transaction.atomic(self._using)
        atomic.__enter__()
        self._atomics.append(atomic)

    def join(self) -> None:
        """Check that a block is open."""
        if not self.is_open:
            raise ConnectionUnfit(
                self.what,
                "no transaction is open, so each statement would commit by itself; call join() within "
                "transaction.atomic(), or use transaction(using=…), which begins one",
            )

    def flush(self) -> None:
        """Do nothing: Django delays no statements."""

    def settle(self, point: Savepoint | None) -> None:
        """Do nothing: a savepoint that is left open ends with the one around it."""

    def commit(self) -> None:
        """Leave the block cleanly."""
        self._atomics.pop().__exit__(None, None, None)

    def rollback(self) -> None:
        """Leave the block with an exception."""
        if self._atomics:
            self._atomics.pop().__exit__(_RollBack, _RollBack(), None)

    def savepoint(self) -> _AtomicSavepoint:
        """Enter an `atomic` block within the open one."""
        return _AtomicSavepoint(self._transaction.atomic(self._using))

    def note_write(self) -> None:
        """Do nothing: Django commits every write."""

    def check_undivided(self) -> None:
        """Do nothing: it is a connection to one database."""

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Register with Django's on_commit, which does not accept callbacks if autocommit was turned off."""
        if not self._wrapper.in_atomic_block or not self._wrapper.commit_on_exit:
            return False
        self._transaction.on_commit(callback, self._using)
        return True

    @property
    def _driver(self) -> Driver:
        self._wrapper.ensure_connection()
        driver = driver_of(self._wrapper.connection)
        if driver is None:
            kind = type(self._wrapper.connection).__module__
            raise ConnectionUnfit(
                self.what,
                f"its driver {kind} is not supported; use sqlite3, psycopg, psycopg2, mysqlclient or PyMySQL",
            )
        return driver

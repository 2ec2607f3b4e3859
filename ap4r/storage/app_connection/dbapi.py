"""A driver's own connection: sqlite3, psycopg, psycopg2, PyMySQL or mysqlclient, without a library around it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.base import Savepoint
from ap4r.storage.app_connection.borrowed_connection import borrowed
from ap4r.storage.app_connection.driver import Driver
from ap4r.storage.app_connection.drivers import is_lost
from ap4r.storage.app_connection.open_transaction import join_transaction, open_transaction
from ap4r.storage.app_connection.unwrap import is_of_dbutils
from ap4r.storage.app_connection.zope import mark_session_on

_numbers = itertools.count(1)


class SqlSavepoint:
    """A savepoint by SQL, which all databases spell alike. The database itself raises an error if it is gone."""

    is_active = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name = f"ap4r_{next(_numbers)}"
        connection.exec_driver_sql(f"SAVEPOINT {self._name}")

    def release(self) -> None:
        """Keep what was done since it began."""
        self._connection.exec_driver_sql(f"RELEASE SAVEPOINT {self._name}")

    def rollback(self) -> None:
        """Undo what was done since it began."""
        self._connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {self._name}")
        self.release()


class DbapiConnection:
    """A `ForeignConnection` on a driver's connection."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._borrowed = borrowed(driver)

    @property
    def what(self) -> str:
        """The kind of connection."""
        return self._driver.what

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
        """The driver's connection."""
        return self._driver.raw

    @property
    def is_owner_thread(self) -> bool:
        """As the driver reports it."""
        return self._driver.is_owner_thread

    @property
    def has_failed(self) -> bool:
        """As the driver reports it."""
        return self._driver.has_failed

    def is_lost_after(self, error: BaseException) -> bool:
        """Check the error and the connection."""
        return is_lost(self._driver, error)

    @property
    def is_open(self) -> bool:
        """Return whether a transaction was begun on it."""
        if is_of_dbutils(self._driver.given) and self._driver.given._transaction:
            return True
        if self._driver.begins_by_itself:
            return False
        is_open = self._driver.in_transaction
        if is_open is None:
            raise ConnectionUnfit(
                self.what, "neither the driver nor the server reports whether a transaction is open; use join()"
            )
        return is_open

    @property
    def is_within_transaction(self) -> bool:
        """As the driver reports it; if it cannot, the application is trusted."""
        return self._driver.in_transaction is not False

    @property
    def open_savepoint(self) -> object:
        """Return None: no driver knows its savepoints."""
        return None

    def check(self) -> None:
        """Refuse a connection that is closed, of another thread, or failed."""
        if not self.is_owner_thread:
            raise ConnectionUnfit(self.what, "it was opened in another thread, and only that thread may use it")
        if self._driver.problem is not None:
            raise ConnectionUnfit(self.what, self._driver.problem)
        if self.has_failed:
            raise ConnectionUnfit(self.what, "its transaction has failed; roll it back first")

    def connection(self) -> Connection:
        """Return a SQLAlchemy connection that runs statements on it."""
        return self._borrowed

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a Core statement."""
        return self._borrowed.execute(statement, parameters)

    def begin(self) -> None:
        """Send BEGIN, unless the driver does so before the next statement."""
        if is_of_dbutils(self._driver.given):
            # Otherwise it would reconnect, unnoticed, if the connection is lost within the block.
            self._driver.given.begin()
        open_transaction(self._borrowed, self._driver, self.what, library_begins=False)

    def join(self) -> None:
        """Ensure that a transaction is open."""
        join_transaction(self._borrowed, self._driver, self.what)

    def flush(self) -> None:
        """Do nothing: no driver delays statements."""

    def settle(self, point: Savepoint | None) -> None:
        """Do nothing: a savepoint that is left open ends with the one around it."""

    def commit(self) -> None:
        """Commit."""
        self._driver.commit()

    def rollback(self) -> None:
        """Roll back."""
        self._driver.rollback()

    def savepoint(self) -> SqlSavepoint:
        """Begin a transaction within the open one."""
        return SqlSavepoint(self._borrowed)

    def note_write(self) -> None:
        """Mark the session of zope.sqlalchemy that uses the connection, if there is one."""
        mark_session_on(self._driver.raw, self.what)

    def check_undivided(self) -> None:
        """Do nothing: it is a connection to one database."""

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Return False: no driver has such an event."""
        return False

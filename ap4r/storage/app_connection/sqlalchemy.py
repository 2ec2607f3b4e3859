"""SQLAlchemy's Connection, 2.0 or later, and what it has in common with the Session. It runs statements itself."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Executable

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.base import Savepoint
from ap4r.storage.app_connection.driver import DatabaseIdentity, Driver
from ap4r.storage.app_connection.drivers import driver_of, is_lost
from ap4r.storage.app_connection.open_transaction import open_transaction
from ap4r.storage.app_connection.zope import mark_session_on

_DIALECTS = {"sqlite": "sqlite", "mysql": "mysql", "mariadb": "mysql", "postgresql": "postgresql"}


class Nested:
    """A savepoint of SQLAlchemy."""

    def __init__(self, nested: Any) -> None:
        self.nested = nested

    @property
    def is_active(self) -> bool:
        """As SQLAlchemy reports it."""
        return bool(self.nested.is_active)

    def release(self) -> None:
        """Keep what was done since it began."""
        self.nested.commit()

    def rollback(self) -> None:
        """Undo what was done since it began."""
        self.nested.rollback()


class SqlalchemyConnection(ABC):
    """What a Connection and a Session have in common."""

    what: str

    def __init__(self, engine: Engine, owner: object) -> None:
        self._engine = engine
        self.owner = owner
        self.is_owner_thread = True  # SQLAlchemy does not record an owner; the block's thread is checked
        if engine.dialect.is_async:
            raise ConnectionUnfit(self.what, "its driver is asynchronous; use a synchronous engine")
        if engine.dialect.name not in _DIALECTS:
            raise ConnectionUnfit(
                self.what,
                f"{engine.dialect.name} is not a database that ap4r supports; use sqlite, mysql or postgresql",
            )
        self.dialect = _DIALECTS[engine.dialect.name]

    @property
    def name(self) -> str:
        """The URL without a password."""
        return self._place().name

    @property
    def database(self) -> Hashable | None:
        """A key that identifies the database."""
        return self._place().database

    @abstractmethod
    def connection(self) -> Connection:
        """Return the application's Connection."""

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a Core statement."""
        return self.connection().execute(statement, parameters)

    def is_lost_after(self, error: BaseException) -> bool:
        """Check the error and the connection."""
        return is_lost(None, error)

    @property
    @abstractmethod
    def innermost(self) -> Any:
        """Return SQLAlchemy's transaction of the last open savepoint, or None without one."""

    @property
    def open_savepoint(self) -> object:
        """Return SQLAlchemy's transaction of the innermost savepoint."""
        return self.innermost

    def settle(self, point: Savepoint | None) -> None:
        """Release the application's open `begin_nested` savepoints, as the commit would."""
        upto = point.nested if isinstance(point, Nested) else None
        while (nested := self.innermost) is not None and nested is not upto:
            nested.commit()

    def _open(self) -> None:
        connection = self.connection()
        if None in (connection.get_execution_options().get("schema_translate_map") or {}):
            raise ConnectionUnfit(self.what, "its schema_translate_map would move ap4r's tables to another schema")
        driver = self._driver()
        problem = self._driver_problem(driver)
        if problem is not None:
            raise ConnectionUnfit(self.what, problem)
        open_transaction(connection, driver, self.what, library_begins=True)

    def _driver(self) -> Driver | None:
        return driver_of(self.connection().connection.dbapi_connection)

    def _driver_problem(self, driver: Driver | None) -> str | None:
        if driver is None:
            return None
        if not driver.is_owner_thread:
            return "it was connected in another thread, and only that thread may use it"
        return "its transaction has failed; roll it back first" if driver.has_failed else driver.problem

    def _place(self) -> DatabaseIdentity:
        driver = self._driver()
        if driver is not None:
            return driver.place()
        return DatabaseIdentity(self._engine.url.set(password=None).render_as_string(), ("url", self._engine.url))


class CoreConnection(SqlalchemyConnection):
    """A `ForeignConnection` on a SQLAlchemy Connection."""

    what = "a SQLAlchemy Connection"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        super().__init__(connection.engine, connection)

    @property
    def has_failed(self) -> bool:
        """As SQLAlchemy and the driver report it."""
        transaction = self._connection.get_nested_transaction() or self._connection.get_transaction()
        if transaction is None:
            return False
        driver = self._driver() if transaction.is_active else None
        return not transaction.is_active or (driver is not None and driver.has_failed)

    @property
    def is_open(self) -> bool:
        """Return whether code holds the open transaction, in a `with` or a variable."""
        connection = self._connection
        if connection.get_transaction() is None:
            return False
        return connection.in_nested_transaction() or _has_block(connection) or _is_held(connection)

    @property
    def is_within_transaction(self) -> bool:
        """As SQLAlchemy reports it."""
        return self._connection.in_transaction()

    def check(self) -> None:
        """Refuse a connection that is closed or failed."""
        if self._connection.closed or self._connection.invalidated:
            raise ConnectionUnfit(self.what, "it is closed")
        if self.has_failed:
            raise ConnectionUnfit(self.what, "its transaction has failed; roll it back first")

    @property
    def innermost(self) -> Any:
        """Return the last savepoint that was begun on the Connection."""
        return self._connection.get_nested_transaction()

    def connection(self) -> Connection:
        """Return the Connection itself."""
        return self._connection

    def begin(self) -> None:
        """Begin, or use the transaction that began by itself."""
        if not self._connection.in_transaction():
            self._connection.begin()
        self._open()

    def join(self) -> None:
        """Begin as the next statement would."""
        self.begin()

    def flush(self) -> None:
        """Do nothing: no statement is delayed."""

    def commit(self) -> None:
        """Commit."""
        self._connection.commit()

    def rollback(self) -> None:
        """Roll back."""
        self._connection.rollback()

    def savepoint(self) -> Nested:
        """Begin a transaction within the open one."""
        return Nested(self._connection.begin_nested())

    def note_write(self) -> None:
        """Mark the session of zope.sqlalchemy that uses the Connection, if there is one."""
        mark_session_on(self._connection.connection.dbapi_connection, self.what)

    def check_undivided(self) -> None:
        """Do nothing: it is a connection to one database."""

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Return False: its event comes before the COMMIT."""
        return False


def _has_block(connection: Connection) -> bool:
    return getattr(connection, "_trans_context_manager", None) is not None


class _Single:
    """Refers to an object from one place only, as a Connection does to a transaction that began by itself."""

    def __init__(self) -> None:
        self._object = object()

    def get(self) -> object:
        return self._object


def _is_held(connection: Connection) -> bool:
    """Return whether anything but the Connection itself refers to its transaction, as the caller of begin() does.

    SQLAlchemy does not record whether it began by itself, and nothing else shows the difference.
    """
    single = _Single()
    return sys.getrefcount(connection.get_transaction()) > sys.getrefcount(single.get())

"""SQLAlchemy's Connection, from 2.0 up, and what it has in common with the Session. Statements run on it itself."""

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
    """A savepoint of SQLAlchemy's."""

    def __init__(self, nested: Any) -> None:
        self.nested = nested

    @property
    def is_active(self) -> bool:
        """Ask SQLAlchemy."""
        return bool(self.nested.is_active)

    def release(self) -> None:
        """Keep what was done since."""
        self.nested.commit()

    def rollback(self) -> None:
        """Undo what was done since."""
        self.nested.rollback()


class OnSqlalchemy(ABC):
    """What is the same for both."""

    what: str

    def __init__(self, engine: Engine, owner: object) -> None:
        self._engine = engine
        self.owner = owner
        self.is_owner_thread = True  # SQLAlchemy does not say who owns it; the block's own thread is checked
        if engine.dialect.is_async:
            raise ConnectionUnfit(self.what, "its driver is asynchronous; use a synchronous engine")
        if engine.dialect.name not in _DIALECTS:
            raise ConnectionUnfit(
                self.what, f"{engine.dialect.name} is no database that ap4r knows; sqlite, mysql and postgresql are"
            )
        self.dialect = _DIALECTS[engine.dialect.name]

    @property
    def name(self) -> str:
        """The URL without a password."""
        return self._place().name

    @property
    def database(self) -> Hashable | None:
        """What tells the database from others."""
        return self._place().database

    @abstractmethod
    def connection(self) -> Connection:
        """Give the application's Connection."""

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a Core statement."""
        return self.connection().execute(statement, parameters)

    def is_lost_after(self, error: BaseException) -> bool:
        """Look at the error, and at the line."""
        return is_lost(None, error)

    @property
    @abstractmethod
    def innermost(self) -> Any:
        """Give SQLAlchemy's transaction of the savepoint that was begun last and is open; None without one."""

    @property
    def open_savepoint(self) -> object:
        """Give SQLAlchemy's transaction of the innermost savepoint."""
        return self.innermost

    def settle(self, point: Savepoint | None) -> None:
        """Release what the application's `begin_nested` has left open, as the commit would."""
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
            return "it was connected in another thread, which alone may use it"
        return "its transaction has failed; roll it back first" if driver.has_failed else driver.problem

    def _place(self) -> DatabaseIdentity:
        driver = self._driver()
        if driver is not None:
            return driver.place()
        return DatabaseIdentity(self._engine.url.set(password=None).render_as_string(), ("url", self._engine.url))


class CoreConnection(OnSqlalchemy):
    """A `ForeignConnection` on a SQLAlchemy Connection."""

    what = "a SQLAlchemy Connection"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        super().__init__(connection.engine, connection)

    @property
    def has_failed(self) -> bool:
        """Ask SQLAlchemy, and the driver."""
        transaction = self._connection.get_nested_transaction() or self._connection.get_transaction()
        if transaction is None:
            return False
        driver = self._driver() if transaction.is_active else None
        return not transaction.is_active or (driver is not None and driver.has_failed)

    @property
    def is_open(self) -> bool:
        """Tell whether somebody holds the transaction that is open, in a `with` or a variable."""
        connection = self._connection
        if connection.get_transaction() is None:
            return False
        return connection.in_nested_transaction() or _has_block(connection) or _is_held(connection)

    @property
    def is_within_transaction(self) -> bool:
        """Ask SQLAlchemy."""
        return self._connection.in_transaction()

    def check(self) -> None:
        """Refuse what is closed or failed."""
        if self._connection.closed or self._connection.invalidated:
            raise ConnectionUnfit(self.what, "it is closed")
        if self.has_failed:
            raise ConnectionUnfit(self.what, "its transaction has failed; roll it back first")

    @property
    def innermost(self) -> Any:
        """Give the savepoint that was begun last on the Connection."""
        return self._connection.get_nested_transaction()

    def connection(self) -> Connection:
        """Give it."""
        return self._connection

    def begin(self) -> None:
        """Begin, or take over what was begun by itself."""
        if not self._connection.in_transaction():
            self._connection.begin()
        self._open()

    def join(self) -> None:
        """Begin as the next statement would."""
        self.begin()

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

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
        """Tell zope.sqlalchemy, if the Connection is that of one of its sessions."""
        mark_session_on(self._connection.connection.dbapi_connection, self.what)

    def check_undivided(self) -> None:
        """Do nothing: it is a connection to one database."""

    def after_commit(self, callback: Callable[[], None]) -> bool:
        """Tell that it does not say: its event comes before the COMMIT."""
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
    """Tell whether anybody but the Connection itself refers to its transaction: who has said begin() does.

    SQLAlchemy keeps no note of whether it began by itself, and nothing else tells the two apart.
    """
    single = _Single()
    return sys.getrefcount(connection.get_transaction()) > sys.getrefcount(single.get())

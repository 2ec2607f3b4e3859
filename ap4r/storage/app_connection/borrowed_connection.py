"""SQLAlchemy statements over a driver's connection that belongs to other code.

No pool, no events, no reset, no BEGIN, COMMIT or ROLLBACK: everything that SQLAlchemy would do to a connection of its
own is left out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.pool import NullPool

from ap4r.storage.app_connection.driver import Driver


class _BorrowingEngine(Engine):
    """Compiles statements for one driver, and caches them. It never connects."""

    # An application may listen to all engines, for example to send BEGIN itself. This one must not be included.
    _has_events = False


class _BorrowedConnection:
    """The driver's connection as SQLAlchemy's pool would return it, without the ways to end it."""

    is_valid = True

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.info: dict[str, Any] = {}

    @property
    def dbapi_connection(self) -> Any:
        """The driver's connection."""
        return self._driver.raw

    @property
    def driver_connection(self) -> Any:
        """The driver's connection."""
        return self._driver.raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver.raw, name)

    def cursor(self, *_: Any, **__: Any) -> Any:
        """Return a cursor whose rows are tuples."""
        return self._driver.cursor()

    def commit(self) -> None:
        """Do nothing: the owner commits."""

    def rollback(self) -> None:
        """Do nothing: the owner rolls back. SQLAlchemy calls it after an error outside of a transaction of its own."""

    def close(self) -> None:
        """Do nothing: the owner closes it."""

    def invalidate(self, *_: Any, **__: Any) -> None:
        """Do nothing: the owner decides."""

    def detach(self) -> None:
        """Do nothing: the owner keeps it."""


_engines: dict[str, _BorrowingEngine] = {}


def borrowed(driver: Driver) -> Connection:
    """Return a SQLAlchemy connection whose statements run on the driver's, in the transaction that is open there."""
    engine = _engines.get(driver.drivername)
    if engine is None:
        engine = _engines.setdefault(driver.drivername, _make_engine(driver.drivername))
    # Built as SQLAlchemy itself builds one to inspect a database before the first use.
    return Connection(
        engine,
        _BorrowedConnection(driver),  # type: ignore[arg-type]
        _has_events=False,
        _allow_revalidate=False,
        _allow_autobegin=False,
    )


def _make_engine(drivername: str) -> _BorrowingEngine:
    url = URL.create(drivername)
    kind: Any = url.get_dialect()
    dialect = kind(dbapi=kind.import_dbapi())
    return _BorrowingEngine(NullPool(_never), dialect, url)


def _never() -> Any:
    raise AssertionError("the connection is the application's, and no other may be opened")

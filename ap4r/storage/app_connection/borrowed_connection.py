"""SQLAlchemy statements over a driver's connection that belongs to somebody else.

No pool, no events, no reset, no BEGIN, COMMIT or ROLLBACK: whatever SQLAlchemy would do to a connection of its own is
left out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.pool import NullPool

from ap4r.storage.app_connection.driver import Driver


class _Lending(Engine):
    """Compiles statements for one driver, and remembers what it has compiled. It never connects."""

    # An application may listen to all engines, say to send BEGIN itself. This one is none of its own.
    _has_events = False


class _Lent:
    """The driver's connection as SQLAlchemy's pool would hand it out, with every ending taken away."""

    is_valid = True

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.info: dict[str, Any] = {}

    @property
    def dbapi_connection(self) -> Any:
        """The driver's own."""
        return self._driver.raw

    @property
    def driver_connection(self) -> Any:
        """The driver's own."""
        return self._driver.raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver.raw, name)

    def cursor(self, *_: Any, **__: Any) -> Any:
        """Give a cursor whose rows are tuples."""
        return self._driver.cursor()

    def commit(self) -> None:
        """Leave it to the owner."""

    def rollback(self) -> None:
        """Leave it to the owner. SQLAlchemy calls it after an error outside of a transaction of its own."""

    def close(self) -> None:
        """Leave it to the owner."""

    def invalidate(self, *_: Any, **__: Any) -> None:
        """Leave it to the owner."""

    def detach(self) -> None:
        """Leave it to the owner."""


_engines: dict[str, _Lending] = {}


def lent(driver: Driver) -> Connection:
    """Give a SQLAlchemy connection whose statements run on the driver's, in the transaction that is open there."""
    engine = _engines.get(driver.drivername)
    if engine is None:
        engine = _engines.setdefault(driver.drivername, _make_engine(driver.drivername))
    # As SQLAlchemy itself makes one to look at a database before the first use.
    return Connection(
        engine,
        _Lent(driver),  # type: ignore[arg-type]
        _has_events=False,
        _allow_revalidate=False,
        _allow_autobegin=False,
    )


def _make_engine(drivername: str) -> _Lending:
    url = URL.create(drivername)
    kind: Any = url.get_dialect()
    dialect = kind(dbapi=kind.import_dbapi())
    return _Lending(NullPool(_never), dialect, url)


def _never() -> Any:
    raise AssertionError("the connection is the application's, and no other is made")

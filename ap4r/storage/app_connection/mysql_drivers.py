"""Connections of PyMySQL and mysqlclient."""

from __future__ import annotations

import sys
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from sqlalchemy import URL

from ap4r.errors import StoreUnavailable
from ap4r.storage.app_connection.driver import DatabaseIdentity, DriverConnection


class _Mysql(DriverConnection):
    """What PyMySQL and mysqlclient have in common."""

    dialect: ClassVar[str] = "mysql"
    drivername: ClassVar[str]
    is_owner_thread = True
    has_failed = False
    begins_by_itself = False
    # Neither driver records a later USE.
    _places: ClassVar[WeakKeyDictionary[Any, DatabaseIdentity]] = WeakKeyDictionary()

    @property
    def problem(self) -> str | None:
        """Return that it is closed, if it is."""
        return None if self.raw.open else "it is closed"

    @property
    def is_autocommit(self) -> bool:
        """As the driver reports it, which the server updates with each answer."""
        return bool(self.raw.get_autocommit())

    @property
    def begin(self) -> str | None:
        """Send BEGIN only under autocommit: otherwise it would silently end what a single SAVEPOINT has begun."""
        return "BEGIN" if self.is_autocommit else None

    def place(self) -> DatabaseIdentity:
        """Ask the server, once for each connection.

        :raises StoreUnavailable: it does not answer.
        """
        place = self._places.get(self.raw)
        if place is None:
            row = self._row("SELECT @@hostname, @@port, DATABASE(), SUBSTRING_INDEX(CURRENT_USER(), '@', 1)")
            server, port, database, user = (text.decode() if isinstance(text, bytes) else text for text in row)
            host = getattr(self.raw, "host", None) or server
            url = URL.create("mysql+pymysql", user, None, host, int(port), database)
            place = self._places[self.raw] = DatabaseIdentity(url.render_as_string(), ("mysql", server, port, database))
        return place

    def cursor(self) -> Any:
        """Return a cursor of the driver's plain class."""
        return sys.modules[f"{type(self).module}.cursors"].Cursor(self.raw)

    module: ClassVar[str]
    what: ClassVar[str]

    def _row(self, statement: str) -> tuple[Any, ...]:
        try:
            [row] = self._rows(statement)
        except self.raw.Error as error:
            raise StoreUnavailable(self.what, str(error), is_connection=True) from error
        return row

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self.cursor()
        try:
            cursor.execute(statement)
            return list(cursor.fetchall())
        finally:
            cursor.close()


class PyMySQL(_Mysql):
    """A connection of PyMySQL."""

    what: ClassVar[str] = "a PyMySQL connection"
    drivername: ClassVar[str] = "mysql+pymysql"
    module: ClassVar[str] = "pymysql"
    _IN_TRANSACTION = 1  # SERVER_STATUS_IN_TRANS of the protocol

    @property
    def in_transaction(self) -> bool | None:
        """As the server reported with its last answer."""
        return bool(self.raw.server_status & self._IN_TRANSACTION)


class MySQLdb(_Mysql):
    """A connection of mysqlclient."""

    what: ClassVar[str] = "a mysqlclient connection"
    drivername: ClassVar[str] = "mysql+mysqldb"
    module: ClassVar[str] = "MySQLdb"

    @property
    def in_transaction(self) -> bool | None:
        """Ask the server: MariaDB has a variable. On MySQL a savepoint shows it, but only under autocommit."""
        try:
            [(value,)] = self._rows("SELECT @@in_transaction")
            return bool(value)
        except self.raw.OperationalError:
            if not self.is_autocommit:
                return None
        try:
            self._rows("SAVEPOINT ap4r_look")
            self._rows("RELEASE SAVEPOINT ap4r_look")
        except self.raw.OperationalError:
            return False
        return True

"""Recognise the drivers' own connections: sqlite3, psycopg, PyMySQL and mysqlclient.

By their class, never imported on a guess: an application has the drivers that it uses.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any, ClassVar

from sqlalchemy import URL

from ap4r.storage.foreign.driver import Driver, Place
from ap4r.storage.foreign.mysql_drivers import MySQLdb, PyMySQL


class Sqlite3:
    """A connection of the standard library's sqlite3."""

    what: ClassVar[str] = "a sqlite3 connection"
    dialect: ClassVar[str] = "sqlite"
    drivername: ClassVar[str] = "sqlite"
    has_failed = False

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw

    @property
    def problem(self) -> str | None:
        """Say whether it is closed."""
        try:
            self.raw.cursor().close()
        except sqlite3.ProgrammingError as error:
            return None if "thread" in str(error) else str(error)
        return None

    @property
    def is_owner_thread(self) -> bool:
        """Ask SQLite's module, which checks it unless check_same_thread is off."""
        try:
            self.raw.cursor().close()
        except sqlite3.ProgrammingError as error:
            return "thread" not in str(error)
        return True

    @property
    def begins_by_itself(self) -> bool:
        """Look at the attribute that Python 3.12 has brought."""
        return getattr(self.raw, "autocommit", None) is False

    @property
    def is_autocommit(self) -> bool:
        """Look at both ways of setting it."""
        autocommit = getattr(self.raw, "autocommit", None)
        return autocommit if isinstance(autocommit, bool) else self.raw.isolation_level is None

    @property
    def in_transaction(self) -> bool:
        """Ask SQLite."""
        return self.raw.in_transaction

    @property
    def begin(self) -> str:
        """Take the lock for writing at once: a transaction that has read before can be refused it for good."""
        return "BEGIN IMMEDIATE"

    def place(self) -> Place:
        """Find the file; a database in memory is its connection's alone."""
        path = next(
            (row[2] for row in self.cursor().execute("PRAGMA database_list") if row[1] in ("main", b"main")), ""
        )
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        try:
            found = os.stat(path)
        except OSError:
            return Place("sqlite:///:memory:", None)
        return Place(f"sqlite:///{path}", ("sqlite", path, found.st_dev, found.st_ino))

    def cursor(self) -> sqlite3.Cursor:
        """Give a cursor of sqlite3's own class: only conn.cursor() would hand a row_factory on."""
        return sqlite3.Cursor(self.raw)


class Psycopg:
    """A connection of psycopg 3."""

    what: ClassVar[str] = "a psycopg connection"
    dialect: ClassVar[str] = "postgresql"
    drivername: ClassVar[str] = "postgresql+psycopg"
    # Of libpq's PGTransactionStatusType.
    _IDLE, _ACTIVE, _IN_ERROR, _UNKNOWN = 0, 1, 3, 4
    is_owner_thread = True
    begins_by_itself = False

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @property
    def problem(self) -> str | None:
        """Say whether it is closed or in the middle of something."""
        if self.raw.closed or self._status == self._UNKNOWN:
            return "it is closed"
        if self.raw.pgconn.pipeline_status:
            return "it is in pipeline mode, where nobody knows what a statement has done; leave the pipeline first"
        return "another statement runs on it" if self._status == self._ACTIVE else None

    @property
    def is_autocommit(self) -> bool:
        """Ask the driver."""
        return bool(self.raw.autocommit)

    @property
    def in_transaction(self) -> bool:
        """Ask libpq."""
        return self._status != self._IDLE

    @property
    def has_failed(self) -> bool:
        """Ask libpq."""
        return self._status == self._IN_ERROR

    @property
    def begin(self) -> str | None:
        """Say BEGIN only where psycopg would not, and then of the kind that was set on the connection."""
        if not self.is_autocommit:
            return None
        words, raw = ["BEGIN"], self.raw
        if raw.isolation_level is not None:
            words += ["ISOLATION LEVEL", raw.isolation_level.name.replace("_", " ")]
        if raw.read_only is not None:
            words.append("READ ONLY" if raw.read_only else "READ WRITE")
        if raw.deferrable is not None:
            words.append("DEFERRABLE" if raw.deferrable else "NOT DEFERRABLE")
        return " ".join(words)

    def place(self) -> Place:
        """Ask libpq where it is connected."""
        info = self.raw.info
        host, port, database, user = info.host, info.port, info.dbname, info.user
        if host.startswith("/"):
            url = URL.create(self.drivername, user, database=database, query={"host": host, "port": str(port)})
        else:
            url = URL.create(self.drivername, user, None, host, port, database)
        return Place(url.render_as_string(), ("postgresql", host, port, database, user))

    def cursor(self) -> Any:
        """Give a cursor of psycopg's own class, with its own rows."""
        import psycopg

        return psycopg.Cursor(self.raw, row_factory=psycopg.rows.tuple_row)

    @property
    def _status(self) -> int:
        return int(self.raw.info.transaction_status)


def driver_of(raw: object) -> Driver | None:
    """Recognise a driver's connection by its class; None when it is none that is known."""
    if isinstance(raw, sqlite3.Connection):
        return Sqlite3(raw)
    for kind in type(raw).__mro__:
        match kind.__module__, kind.__name__:
            case (("psycopg" | "psycopg.connection"), "Connection"):
                return Psycopg(raw)
            case "pymysql.connections", "Connection":
                return PyMySQL(raw)
            case "MySQLdb.connections", "Connection":
                return MySQLdb(raw)
    return None


#: Of MySQL and MariaDB: the server has gone away, or did so during the statement.
_MYSQL_LOST = frozenset({2006, 2013, 2055})


def is_lost(driver: Driver | None, error: BaseException) -> bool:
    """Tell whether an error has broken the line to the database."""
    original = getattr(error, "orig", None) or error.__cause__ or error
    if getattr(error, "connection_invalidated", False) or (original.args[:1] and original.args[0] in _MYSQL_LOST):
        return True
    return driver is not None and driver.is_owner_thread and driver.problem is not None

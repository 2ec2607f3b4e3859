"""Recognises the drivers' own connections: sqlite3, psycopg, psycopg2, PyMySQL and mysqlclient.

It goes by their class and imports no driver: an application has imported those that it uses.
"""

from __future__ import annotations

import os
import sqlite3
from typing import ClassVar

from ap4r.storage.app_connection.driver import DatabaseIdentity, Driver, DriverConnection
from ap4r.storage.app_connection.mysql_drivers import MySQLdb, PyMySQL
from ap4r.storage.app_connection.postgresql_drivers import Psycopg, Psycopg2
from ap4r.storage.app_connection.unwrap import unwrapped


class Sqlite3(DriverConnection):
    """A connection of the standard library's sqlite3."""

    what: ClassVar[str] = "a sqlite3 connection"
    dialect: ClassVar[str] = "sqlite"
    drivername: ClassVar[str] = "sqlite"
    has_failed = False

    raw: sqlite3.Connection

    @property
    def problem(self) -> str | None:
        """Return that it is closed, if it is."""
        try:
            self.raw.cursor().close()
        except sqlite3.ProgrammingError as error:
            return None if "thread" in str(error) else str(error)
        return None

    @property
    def is_owner_thread(self) -> bool:
        """As SQLite's module reports it, which checks the thread unless check_same_thread is off."""
        try:
            self.raw.cursor().close()
        except sqlite3.ProgrammingError as error:
            return "thread" not in str(error)
        return True

    @property
    def begins_by_itself(self) -> bool:
        """As the attribute reports it that Python 3.12 added."""
        return getattr(self.raw, "autocommit", None) is False

    @property
    def is_autocommit(self) -> bool:
        """As both ways of setting it report."""
        autocommit = getattr(self.raw, "autocommit", None)
        return autocommit if isinstance(autocommit, bool) else self.raw.isolation_level is None

    @property
    def in_transaction(self) -> bool:
        """As SQLite reports it."""
        return self.raw.in_transaction

    @property
    def begin(self) -> str:
        """Lock for writing at once: a transaction that has read before may be refused the lock for good."""
        return "BEGIN IMMEDIATE"

    def place(self) -> DatabaseIdentity:
        """Return the file; a database in memory belongs to its connection alone."""
        path = next(
            (row[2] for row in self.cursor().execute("PRAGMA database_list") if row[1] in ("main", b"main")), ""
        )
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        try:
            found = os.stat(path)
        except OSError:
            return DatabaseIdentity("sqlite:///:memory:", None)
        return DatabaseIdentity(f"sqlite:///{path}", ("sqlite", path, found.st_dev, found.st_ino))

    def cursor(self) -> sqlite3.Cursor:
        """Return a cursor of sqlite3's own class: only conn.cursor() would use a row_factory."""
        return sqlite3.Cursor(self.raw)


def driver_of(given: object) -> Driver | None:
    """Return the adapter for a driver's connection, by its class and inside any wrapper; None for unknown ones."""
    raw = unwrapped(given, is_driver)
    kind = _kind_of(raw)
    return None if kind is None else kind(raw, given)


def is_driver(raw: object) -> bool:
    """Return whether an object is itself a driver's connection."""
    return _kind_of(raw) is not None


def _kind_of(raw: object) -> type[Sqlite3 | Psycopg | Psycopg2 | PyMySQL | MySQLdb] | None:
    # By the true class: isinstance() would trust the class that a proxy reports.
    for kind in type(raw).__mro__:
        match kind.__module__, kind.__name__:
            case "sqlite3", "Connection":
                return Sqlite3
            case (("psycopg" | "psycopg.connection"), "Connection"):
                return Psycopg
            case "psycopg2.extensions", "connection":
                return Psycopg2
            case "pymysql.connections", "Connection":
                return PyMySQL
            case "MySQLdb.connections", "Connection":
                return MySQLdb
    return None


#: MySQL and MariaDB: the server is gone, or was lost during the statement.
_MYSQL_LOST = frozenset({2006, 2013, 2055})


def is_lost(driver: Driver | None, error: BaseException) -> bool:
    """Return whether an error has broken the connection to the database."""
    original = getattr(error, "orig", None) or error.__cause__ or error
    if getattr(error, "connection_invalidated", False) or (original.args[:1] and original.args[0] in _MYSQL_LOST):
        return True
    return driver is not None and driver.is_owner_thread and driver.problem is not None

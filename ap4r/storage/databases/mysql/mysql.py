"""MySQL 8 and MariaDB 10.6 or later, a Galera cluster included, through PyMySQL."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ap4r.errors import StoreError, StoreUnavailable, StoreUnusable
from ap4r.storage.access.call_timeout import watched
from ap4r.storage.databases import dialects
from ap4r.storage.databases.database import RolledBack, Rows, delete_and_insert
from ap4r.storage.databases.hosts import Host
from ap4r.storage.databases.mysql import server_checks, session
from ap4r.storage.databases.mysql.bulk import delete_rows, insert_rows
from ap4r.storage.databases.mysql.connection import MysqlConnection
from ap4r.storage.databases.mysql.error_codes import (
    DENIED,
    LOST,
    NO_TABLE,
    ROLLED_BACK,
    THERE_ALREADY,
    UNAVAILABLE,
    UNKNOWN_VARIABLE,
    UNUSABLE,
    WRONG_SERVER,
    code_of,
)
from ap4r.storage.databases.server import SILENT_SECONDS, ServerDatabase
from ap4r.storage.schema import version
from ap4r.storage.schema.tables import Schema

_log = logging.getLogger("ap4r.storage")

_MIGRATING_SECONDS = 60
_CLOCK = dialects.MYSQL_CLOCK


class MysqlDatabase(ServerDatabase):
    """One database of a MySQL or MariaDB server, or of a cluster.

    :param max_row_bytes: the largest row that must be accepted: a body with its headers.
    """

    moves_at_once = False
    clock_sql = _CLOCK

    def __init__(self, url: URL, hosts: tuple[Host, ...], deadline_seconds: float, max_row_bytes: int) -> None:
        super().__init__(url, hosts, deadline_seconds)
        self._max_row_bytes = max_row_bytes
        self.conflicts_at_commit = False
        self._variables: frozenset[str] = frozenset()  # those of `session` that the server has

    def locate(self, connection: Connection, schema: Schema) -> None:
        """Do nothing: a database has one place for tables."""

    def make_tables(self, schema: Schema) -> None:
        """Create or migrate the tables.

        DDL commits by itself here, and no lock holds on all nodes of a cluster. So every step of a migration can be
        repeated and first checks whether it was done; a process that meets another one's step begins again.
        """
        give_up_at = time.monotonic() + _MIGRATING_SECONDS
        lock = f"ap4r {self._url.database} {schema.prefix}"[:64]
        with self._connected(_MIGRATING_SECONDS) as connection:
            wait_seconds = max(1, int(self._deadline_seconds) - 1)
            if not connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (lock, wait_seconds)).scalar():
                raise StoreUnavailable(self.name, "another process creates its tables")
            try:
                while version.can_migrate(version.found_version(connection, schema)):
                    try:
                        version.create_or_migrate(connection, schema)
                    except Exception as error:
                        if not _was_done_by_another(error) or time.monotonic() > give_up_at:
                            raise
                        time.sleep(0.1)
            finally:
                with suppress(SQLAlchemyError):
                    connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (lock,))

    def now_at(self, connection: Connection) -> int:
        """Return the server's clock, without its time zone, in which an hour occurs twice each autumn."""
        [(now_at,)] = self.rows(connection, f"SELECT {_CLOCK}", None)
        return int(now_at)

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT … ON DUPLICATE KEY UPDATE that updates nothing."""
        return dialects.mysql_insert_new(table)

    def delete(self, connection: Connection, table: Table, rows: Rows) -> int:
        """Delete rows, many in one statement."""
        return delete_rows(connection, table, rows)

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert rows, many in one statement."""
        insert_rows(connection, table, rows)

    def move(self, connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows) -> None:
        """Delete rows, and insert them into another table."""
        delete_and_insert(self, connection, source, key, target, rows)

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Translate the server's or PyMySQL's code."""
        code = code_of(error.orig)
        committing, connecting = error.statement == "COMMIT", error.statement is None
        if code in ROLLED_BACK:
            return RolledBack(self.name, ROLLED_BACK[code])
        if committing:
            # An answer that makes no sense too, as from a connection that is being killed.
            problem = UNAVAILABLE.get(code, "the connection was lost")
            return StoreUnavailable(self.name, problem, outcome_unknown=True)
        if code in UNUSABLE:
            denied = f": {error.orig.args[-1]}" if code in DENIED and error.orig else ""
            return StoreUnusable(self.name, UNUSABLE[code] + denied)
        if code == NO_TABLE:
            self.close()
            return StoreUnavailable(self.name, "its tables are gone")
        lost = code in LOST or error.connection_invalidated
        if not lost and code not in UNAVAILABLE:
            return None
        problem = UNAVAILABLE.get(code, "the connection was lost")
        if lost and not connecting:
            return RolledBack(self.name, problem)
        if connecting and code in (2002, 2003):
            problem = f"{problem}: {error.orig.args[-1] if error.orig else ''}"
        return StoreUnavailable(self.name, problem)

    def _begin(self, within_seconds: float) -> str:
        return "BEGIN"

    def _is_wrong_server(self, error: DBAPIError) -> bool:
        return code_of(error.orig) in WRONG_SERVER

    def _engine_options(self) -> dict[str, Any]:
        return {}

    def _connect(self, dialect: Dialect, arguments: dict[str, Any], within_seconds: float) -> Any:
        ours = {
            "charset": "utf8mb4",
            "connect_timeout": max(1, round(within_seconds)),
            "read_timeout": self._deadline_seconds,
            "write_timeout": self._deadline_seconds,
            "autocommit": True,
        }
        give_up_at = time.monotonic() + within_seconds
        try:
            connection = MysqlConnection(give_up_at, **{**ours, **arguments, "defer_connect": True})
        except (TypeError, ValueError, OSError) as error:
            raise self._wrong_option(error) from error
        connection.connect()
        try:
            with watched(connection.duplicate, give_up_at), connection.cursor() as cursor:
                self._set_session(cursor)
                if self.conflicts_at_commit:
                    # A node applies the other nodes' commits a little later. A session that moves from another node
                    # waits for it here, once, or would not find what it has written there itself.
                    cursor.execute("SET SESSION wsrep_sync_wait=1")
                    cursor.execute("SELECT 1")
                    cursor.execute("SET SESSION wsrep_sync_wait=DEFAULT")
                if len(self._hosts) > 1:
                    cursor.execute("SELECT @@GLOBAL.read_only")
                    if cursor.fetchone() != (0,):
                        raise dialect.loaded_dbapi.OperationalError(1290, "read-only")
        except BaseException:
            connection.close_at_once()
            raise
        return connection

    def _set_session(self, cursor: Any) -> None:
        cursor.execute(session.ISOLATION)
        lock_seconds = max(1, int(self._deadline_seconds) - 1)
        if self._variables:
            try:
                cursor.execute(session.set_session(self._variables, lock_seconds, SILENT_SECONDS))
                return
            except cursor.connection.Error as error:
                if code_of(error) != UNKNOWN_VARIABLE:
                    raise  # otherwise the server was replaced by another one
        cursor.execute(session.FIRST)
        cursor.execute(session.WHICH)
        self._variables = frozenset(str(name) for name, _ in cursor.fetchall())
        cursor.execute(session.set_session(self._variables, lock_seconds, SILENT_SECONDS))

    def _socket_of(self, connection: Any) -> socket.socket | None:
        line: socket.socket | None = connection.take_socket()
        return line

    def _check_server(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            names = ", ".join(f"'{name}'" for name in server_checks.READ)
            cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
            found = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
        self.conflicts_at_commit = found.get("wsrep_on") == "ON"
        server_checks.check(self.name, found, self._max_row_bytes)


def _was_done_by_another(error: BaseException) -> bool:
    """Return whether a step of a migration failed because another process, on another node, did it meanwhile."""
    from alembic.util import CommandError

    if isinstance(error, CommandError):
        return True  # the version to replace has changed
    return isinstance(error, DBAPIError) and code_of(error.orig) in THERE_ALREADY | ROLLED_BACK.keys()

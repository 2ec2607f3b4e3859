"""MySQL 8 and MariaDB 10.6 or later, a Galera cluster included, through PyMySQL."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pymysql.connections import Connection as Driver  # type: ignore[import-untyped]
from sqlalchemy import URL, Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError

from ap4r.errors import StoreError, StoreUnavailable, StoreUnusable
from ap4r.storage import versions
from ap4r.storage.mysql_codes import (
    LOST,
    NO_TABLE,
    ROLLED_BACK,
    THERE_ALREADY,
    TLS_FAILED,
    UNAVAILABLE,
    UNUSABLE,
    WRONG_SERVER,
)
from ap4r.storage.sql import spelling
from ap4r.storage.sql.database import RolledBack
from ap4r.storage.sql.deadlines import watched
from ap4r.storage.sql.hosts import Host
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.server import SILENT_SECONDS, ServerDatabase

_log = logging.getLogger("ap4r.storage")

_MIGRATING_SECONDS = 60
_ROWS_A_DELETE = 300
_CLOCK = spelling.MYSQL_CLOCK
_LIMITS = (
    "version", "max_allowed_packet", "innodb_flush_log_at_trx_commit", "innodb_log_file_size",
    "innodb_log_files_in_group", "innodb_redo_log_capacity", "sync_binlog", "log_bin", "wsrep_on",
)  # fmt: skip


class MysqlDatabase(ServerDatabase):
    """One database of a MySQL or MariaDB server, or of a cluster.

    :param max_row_bytes: the largest row that must pass: a body with its headers.
    """

    clock_sql = _CLOCK

    def __init__(self, url: URL, hosts: tuple[Host, ...], deadline_seconds: float, max_row_bytes: int) -> None:
        super().__init__(url, hosts, deadline_seconds)
        self._max_row_bytes = max_row_bytes
        self.conflicts_at_commit = False

    def make_tables(self, schema: Schema) -> None:
        """Make or move the tables.

        DDL commits by itself here, and no lock holds on all nodes of a cluster. So every step of a migration can be
        repeated and looks first whether it was done; whoever meets a step that another takes begins again.
        """
        give_up_at = time.monotonic() + _MIGRATING_SECONDS
        lock = f"ap4r {self._url.database} {schema.prefix}"[:64]
        with self._connected(_MIGRATING_SECONDS) as connection:
            wait_seconds = max(1, int(self._deadline_seconds) - 1)
            if not connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (lock, wait_seconds)).scalar():
                raise StoreUnavailable(self.name, "another process makes its tables")
            try:
                while versions.may_move(versions.found_version(connection, schema)):
                    try:
                        versions.upgrade(connection, schema)
                    except Exception as error:
                        if not _was_done_by_another(error) or time.monotonic() > give_up_at:
                            raise
                        time.sleep(0.1)
            finally:
                with suppress(DBAPIError):
                    connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (lock,))

    def now_at(self, connection: Connection) -> int:
        """Read the server's clock. Not through its time zone, which has an hour twice each autumn."""
        return int(connection.exec_driver_sql(f"SELECT {_CLOCK}").scalar_one())

    def insert_new(self, table: Table) -> Any:
        """Give an INSERT … ON DUPLICATE KEY UPDATE that updates nothing."""
        return spelling.mysql_insert_new(table)

    def delete(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Delete rows by primary key in one statement.

        The keys are joined to the table, for then InnoDB locks those rows only. With an IN it reads ranges and locks
        their neighbours too, and two that delete at once wait for each other.
        """
        quote = connection.dialect.identifier_preparer.quote
        columns = list(rows[0])
        one = "SELECT " + ", ".join(f"%s AS {quote(column)}" for column in columns)
        same = " AND ".join(f"t.{quote(column)} = v.{quote(column)}" for column in columns)
        for start in range(0, len(rows), _ROWS_A_DELETE):
            some = rows[start : start + _ROWS_A_DELETE]
            statement = (
                f"DELETE t FROM ({' UNION ALL '.join([one] * len(some))}) AS v "
                f"STRAIGHT_JOIN {quote(table.name)} AS t FORCE INDEX (PRIMARY) ON {same}"
            )
            connection.exec_driver_sql(statement, tuple(row[column] for row in some for column in columns))

    def insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; PyMySQL makes one statement of them."""
        connection.execute(table.insert(), [dict(row) for row in rows])

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Read the server's or PyMySQL's code."""
        code = _code(error.orig)
        committing, connecting = error.statement == "COMMIT", error.statement is None
        if code in ROLLED_BACK:
            return RolledBack(self.name, ROLLED_BACK[code])
        if committing:
            # Also an answer that makes no sense, as from a connection that is being killed.
            problem = UNAVAILABLE.get(code, "the connection was lost")
            return StoreUnavailable(self.name, problem, outcome_unknown=True)
        if code in UNUSABLE:
            return StoreUnusable(self.name, UNUSABLE[code])
        if code == NO_TABLE:
            self.close()
            return StoreUnavailable(self.name, "its tables are gone")
        lost = code in LOST or error.connection_invalidated
        if not lost and code not in UNAVAILABLE:
            return None
        problem = UNAVAILABLE.get(code, "the connection was lost")
        if lost and not connecting:
            return RolledBack(self.name, problem)
        return StoreUnavailable(self.name, problem)

    def _begin(self, within_seconds: float) -> str:
        return "BEGIN"

    def _is_wrong_server(self, error: DBAPIError) -> bool:
        return _code(error.orig) in WRONG_SERVER

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
        connection = _Connection(give_up_at, **{**ours, **arguments})
        try:
            with watched(connection.duplicate, give_up_at), connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                lock_seconds = max(1, int(self._deadline_seconds) - 1)
                cursor.execute(f"SET SESSION innodb_lock_wait_timeout={lock_seconds}, wait_timeout={SILENT_SECONDS}")
                if self.conflicts_at_commit:
                    # A node applies what the others have committed a little later. Whoever comes from another node
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

    def _line(self, connection: Any) -> socket.socket | None:
        line: socket.socket | None = connection.take_line()
        return line

    def _look_at_server(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            names = ", ".join(f"'{name}'" for name in _LIMITS)
            cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
            found = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
            cursor.execute("SELECT @@SESSION.sql_mode")
            mode = str(cursor.fetchone()[0])
        self.conflicts_at_commit = found.get("wsrep_on") == "ON"
        self._refuse_old(found["version"])
        if "STRICT_TRANS_TABLES" not in mode and "STRICT_ALL_TABLES" not in mode:
            raise StoreUnusable(
                self.name,
                "the server would cut values silently; set sql_mode=STRICT_TRANS_TABLES, there or in the store's URL",
            )
        self._refuse_small(found)
        for name in ("innodb_flush_log_at_trx_commit", "sync_binlog"):
            # MariaDB's 3 syncs even more often than 1 does.
            safe = found.get(name, "1") in (("1", "3") if name.startswith("innodb") else ("1",))
            if not safe and (name != "sync_binlog" or found.get("log_bin") == "ON"):
                _log.warning(
                    "store %s: %s is %s, so a crash of the server can lose messages; set it to 1",
                    *(self.name, name, found[name]),
                )

    def _refuse_old(self, version: str) -> None:
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        least = (10, 6) if "mariadb" in version.lower() else (8, 0)
        if numbers < least:
            raise StoreUnusable(self.name, f"version {version} has no SKIP LOCKED; MySQL 8.0 or MariaDB 10.6 has")

    def _refuse_small(self, found: Mapping[str, str]) -> None:
        # A value travels escaped, at worst twice its size.
        needed = 2 * self._max_row_bytes + 65_536
        if int(found["max_allowed_packet"]) < needed:
            raise StoreUnusable(
                self.name,
                f"max_allowed_packet is {found['max_allowed_packet']}, max_body_bytes needs {needed}; "
                "change one of them",
            )
        # https://dev.mysql.com/doc/refman/8.0/en/innodb-parameters.html: ten times the largest BLOB.
        capacity = found.get("innodb_redo_log_capacity")
        name = "innodb_log_file_size" if capacity is None else "innodb_redo_log_capacity"
        size = int(capacity or found["innodb_log_file_size"])
        if capacity is None:
            size *= int(found.get("innodb_log_files_in_group", 1))
        if size < 10 * self._max_row_bytes:
            raise StoreUnusable(
                self.name, f"{name} is {size}, max_body_bytes needs {10 * self._max_row_bytes}; change one of them"
            )


class _Connection(Driver):  # type: ignore[misc]
    """PyMySQL's connection over a socket of which we keep a `duplicate`, so that a call can be ended from outside."""

    def __init__(self, give_up_at: float, **arguments: Any) -> None:
        self._give_up_at = give_up_at
        self.duplicate: socket.socket | None = None
        super().__init__(**arguments)

    def connect(self, sock: Any = None) -> None:
        """Connect and log in, or be cut at the deadline."""
        if sock is None and not self.unix_socket:
            try:
                sock = socket.create_connection((self.host, self.port), self.connect_timeout)
            except OSError as error:
                problem = f"cannot connect to {self.host}:{self.port}: {error}"
                raise self.OperationalError(2003, problem) from error
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.duplicate = sock.dup()
        try:
            with watched(self.duplicate, self._give_up_at):
                super().connect(sock)
        except BaseException:
            line = self.take_line()
            if line is not None:
                line.close()
            raise

    def take_line(self) -> socket.socket | None:
        """Give the duplicate of the socket, once."""
        line, self.duplicate = self.duplicate, None
        return line

    def close(self) -> None:
        """Say goodbye and close."""
        line = self.take_line()
        if line is not None:
            line.close()
        super().close()

    def close_at_once(self) -> None:
        """Close without waiting for the server."""
        line = self.take_line()
        if line is not None:
            line.close()
        self._force_close()


def _code(error: BaseException | None) -> int:
    if isinstance(getattr(error, "original_exception", None), ssl.SSLError):
        return TLS_FAILED  # PyMySQL says the same as of a server that is not there
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _was_done_by_another(error: BaseException) -> bool:
    """Tell whether a step of a migration failed because another process, on another node, took it meanwhile."""
    from alembic.util import CommandError

    if isinstance(error, CommandError):
        return True  # the version that was to be replaced has moved
    return isinstance(error, DBAPIError) and _code(error.orig) in THERE_ALREADY | ROLLED_BACK.keys()

"""PostgreSQL through psycopg 3. No session state, so that poolers such as PgBouncer are safe."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError

from ap4r.errors import StoreError, StoreUnavailable, StoreUnusable
from ap4r.storage.databases import dialects
from ap4r.storage.databases.database import RolledBack, Rows
from ap4r.storage.databases.hosts import Host
from ap4r.storage.databases.postgresql.bulk import delete_rows, insert_rows, move_rows
from ap4r.storage.databases.postgresql.connection import rows as rows_of
from ap4r.storage.databases.postgresql.search_path import find_schemas, several_schemas_text
from ap4r.storage.databases.server import SILENT_SECONDS, ServerDatabase
from ap4r.storage.databases.url_options import wrong_option_text
from ap4r.storage.schema import version
from ap4r.storage.schema.tables import Schema

_log = logging.getLogger("ap4r.storage")

_MIGRATING_SECONDS = 60
_LEAST_CONNECT_SECONDS = 2  #: libpq accepts no shorter one
_CLOCK = dialects.POSTGRESQL_CLOCK
#: Independent of the isolation that the server, a role or the URL sets: a read after a lock must see the current rows.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
#: Independent of what they set: arrays may hold NULLs, numbers are returned exactly, and a statement waits for a lock.
_SETTINGS = "SET LOCAL lock_timeout = 0; SET LOCAL array_nulls = on; SET LOCAL extra_float_digits = 1"
#: The sources of a read-only mode that was meant for sessions, and not for the server.
_OF_SESSIONS = frozenset({"database", "user", "database user", "client", "session"})
#: Every statement of a transaction is faster by index, row by row and in its order, even if the planner's statistics
#: are out of date and suggest otherwise; and none is long enough to be worth compiling.
_PLANS = "; ".join(
    f"SET LOCAL {name} = off"
    for name in ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit")
)
#: https://www.postgresql.org/docs/current/errcodes-appendix.html: the whole code, else its class (two letters).
_ROLLED_BACK = {
    "40001": "a serialization conflict",
    "40P01": "a deadlock",
    "55P03": "a lock was not available",
}
_UNAVAILABLE = {
    "08": "the connection was lost",
    "25006": "the server is read-only",
    "25P03": "the server ended the session, which was silent for too long",
    "40003": "the connection was lost",
    "53": "the server has no more memory, disk or connections",
    "57014": "the statement took too long",
    "57": "the server shuts down or starts",
    "58": "the server's disk failed",
}
_UNUSABLE = {
    "28": "user or password is wrong",
    "3D000": "there is no such database",
    "42501": "the user may not do this",
}
#: libpq passes on no code when a server refuses a new connection, only its text, in English.
_REFUSALS = (
    (re.compile(r'FATAL: +database ".*" does not exist'), "3D000"),
    (re.compile(r'FATAL: +(?:password authentication failed|no pg_hba\.conf entry|role ".*" does not exist)'), "28000"),
    (re.compile(r"no password supplied"), "28000"),
    (re.compile(r"FATAL: +permission denied for database"), "42501"),
    (re.compile(r"FATAL: +(?:sorry, too many clients|remaining connection slots|too many connections)"), "53300"),
    (re.compile(r"FATAL: +the database system is"), "57P03"),
)
#: The same for libpq's own texts before or while it connects: about settings, which retrying does not correct,
_NONSENSE = re.compile(
    r"invalid [\w ]*(?:option|value|port number)|invalid integer|(?:certificate|key) file \S+ (?:does not exist|has )"
    r"|could not (?:open|read|load) [\w ]*(?:file|key|certificate)|missing \"=\"|syntax error in|definition of service"
)
#: and about servers that may return.
_CONNECT_FAILURES = (
    (re.compile(r"SSL|TLS|certificate"), "the TLS connection failed"),
    (re.compile(r"translate host name|resolve host|not known|name resolution|No address"), "its name does not resolve"),
)
_NO_TABLE = "42P01"
_MOST_BYTES = 0x3FFFFFFF  #: of one value (MaxAllocSize in the server's memutils.h)
#: Classes of errors at COMMIT after which nothing was changed: a constraint failed, or the transaction was rolled back.
_UNDONE_AT_COMMIT = frozenset({"23", "40"})
_UNKNOWN_AT_COMMIT = "40003"  #: statement_completion_unknown
_READ_ONLY = "25006"
_LOST = "08000"


class PostgresqlDatabase(ServerDatabase):
    """One database of a PostgreSQL server, or of a primary and the servers that may replace it.

    :param max_row_bytes: the largest row that must be accepted: a body with its headers.
    """

    clock_sql = _CLOCK
    conflicts_at_commit = False
    moves_at_once = True

    def __init__(self, url: URL, hosts: tuple[Host, ...], deadline_seconds: float, max_row_bytes: int) -> None:
        super().__init__(url, hosts, deadline_seconds)
        self._max_row_bytes = max_row_bytes
        options = url.query.get("options", os.environ.get("PGOPTIONS", ""))
        self._names_path = "search_path" in str(options)
        self._mode = ""  # of our transactions: " READ WRITE" if sessions are read-only by default

    def locate(self, connection: Connection, schema: Schema) -> None:
        """Find the schema: the one that the search_path leads to, else the only one that has the tables.

        A search_path in the URL or in PGOPTIONS is meant for these tables: it names their schema, existing or not.
        """
        found = find_schemas(connection, schema.version_table)
        if not found.names or schema.namespace in found.names:
            return
        if not found.is_visible and self._names_path:
            return
        if found.namespace is None:
            raise StoreUnusable(self.name, several_schemas_text(found.names, schema.version_table))
        if schema.namespace is not None:
            # Statements are compiled once, for one schema.
            raise StoreUnusable(
                self.name, f"its tables have moved from the schema {schema.namespace} to {found.namespace}; restart"
            )
        schema.place(found.namespace)

    def make_tables(self, schema: Schema) -> None:
        """Create or migrate the tables in one transaction, under an advisory lock that ends with it."""
        with self._connected(_MIGRATING_SECONDS) as connection:
            connection.exec_driver_sql(
                f"{_BEGIN}{self._mode}; SET LOCAL lock_timeout = {int(self._deadline_seconds * 1000)}; "
                f"SET LOCAL statement_timeout = {_MIGRATING_SECONDS * 1000}; "
                f"SET LOCAL idle_in_transaction_session_timeout = {SILENT_SECONDS * 1000}"
            )
            try:
                lock = int.from_bytes(schema.prefix.encode()[:7], "big")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (lock,))
                self.locate(connection, schema)
                if schema.namespace is not None:
                    # For the SQL of Alembic, which names no schema.
                    path = connection.dialect.identifier_preparer.quote(schema.namespace)
                    connection.exec_driver_sql(f"SET LOCAL search_path = {path}".replace("%", "%%"))
                version.create_or_migrate(connection, schema)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.invalidate()
                raise

    def now_at(self, connection: Connection) -> int:
        """Return the server's clock."""
        [(now_at,)] = self.rows(connection, f"SELECT {_CLOCK}", None)
        return int(now_at)

    def rows(self, connection: Connection, statement: str, values: Any) -> Sequence[Any]:
        """Run a query; the SQL that opens the transaction is sent with it, in the same round trip."""
        return rows_of(connection, statement, values)

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT … ON CONFLICT DO NOTHING."""
        return dialects.postgresql_insert_new(table)

    def delete(self, connection: Connection, table: Table, rows: Rows) -> int:
        """Delete rows in one statement."""
        return delete_rows(connection, table, rows)

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert rows in one statement."""
        insert_rows(connection, table, rows)

    def move(self, connection: Connection, source: Table, key: Sequence[str], target: Table, rows: Rows) -> None:
        """Delete rows and insert them into another table in one statement."""
        move_rows(connection, source, key, target, rows)

    def meaning_of(self, error: DBAPIError) -> StoreError | None:
        """Translate the SQLSTATE; an error without one is about the connection."""
        said = str(error.orig)
        committing, connecting = error.statement == "COMMIT", error.statement is None
        code = getattr(error.orig, "sqlstate", None) or _state_of_refusal(said)
        if connecting and code is None:
            if isinstance(error.orig, psycopg.ProgrammingError) or _NONSENSE.search(said):
                return StoreUnusable(self.name, wrong_option_text(self._url.query, error.orig or error))
            words = (words for pattern, words in _CONNECT_FAILURES if pattern.search(said))
            return StoreUnavailable(self.name, f"{next(words, 'the server cannot be reached')}: {said}")
        state = code or _LOST
        if state in _ROLLED_BACK:
            return RolledBack(self.name, _ROLLED_BACK[state])
        if committing and (state[:2] not in _UNDONE_AT_COMMIT or state == _UNKNOWN_AT_COMMIT):
            return StoreUnavailable(self.name, "the answer to COMMIT was lost", outcome_unknown=True)
        if state == _NO_TABLE:
            self.close()
            return StoreUnavailable(self.name, "its tables are gone")
        for length in (5, 2):
            if state[:length] in _UNUSABLE:
                problem = _UNUSABLE[state[:length]]
                return StoreUnusable(
                    self.name, f"{problem}: {said}" if "supplied" in said or state == "42501" else problem
                )
            if state[:length] in _UNAVAILABLE:
                problem = _UNAVAILABLE[state[:length]]
                if connecting:
                    problem = f"{problem}: {error.orig}"
                elif error.connection_invalidated:
                    return RolledBack(self.name, problem)
                return StoreUnavailable(self.name, problem)
        return None

    def _begin(self, within_seconds: float) -> str:
        # The bounds of the transaction are sent with it, in the same round trip: a pooler may use another session each
        # time.
        return (
            f"{_BEGIN}{self._mode}; SET LOCAL statement_timeout = {max(1, int(within_seconds * 1000))}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {SILENT_SECONDS * 1000}; {_SETTINGS}; "
            f"{_PLANS}"
        )

    def _is_wrong_server(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == _READ_ONLY

    def _engine_options(self) -> dict[str, Any]:
        return {"use_native_hstore": False}

    def _connect(self, dialect: Dialect, arguments: dict[str, Any], within_seconds: float) -> Any:
        # A call that has spent its time waiting for a connection must not go on for libpq's shortest timeout.
        if within_seconds < min(_LEAST_CONNECT_SECONDS, self._deadline_seconds / len(self._hosts) / 2):
            raise psycopg.errors.ConnectionTimeout("too little time was left to connect")
        seconds = max(_LEAST_CONNECT_SECONDS, int(within_seconds))
        ours: dict[str, Any] = {
            "connect_timeout": seconds,
            # Prepared statements belong to the session, which a pooler may share.
            "prepare_threshold": None,
            "autocommit": True,
        }
        if len(self._hosts) > 1:
            ours["target_session_attrs"] = "read-write"
        # Independent of what a role, a database or the environment sets: names are any text, and ids are written with
        # backslashes that are not escapes. A pooler keeps both for each client.
        connection = psycopg.connect(**{**ours, **arguments, "client_encoding": "UTF8"})
        if connection.info.parameter_status("standard_conforming_strings") == "off":
            connection.execute("SET standard_conforming_strings = on")
        if connection.info.parameter_status("default_transaction_read_only") == "on":
            self._mode = _mode_where_read_only(connection)
        return connection

    def _socket_of(self, connection: Any) -> socket.socket | None:
        try:
            return socket.socket(fileno=os.dup(connection.fileno()))
        except OSError:
            connection.close()
            raise

    def _check_server(self, connection: Any) -> None:
        names = ("server_encoding", "fsync", "synchronous_commit", "full_page_writes")
        asked = ", ".join(f"current_setting('{name}')" for name in names)
        encoding, *values = connection.execute(f"SELECT {asked}").fetchone()
        if encoding != "UTF8":
            raise StoreUnusable(
                self.name, f"its encoding is {encoding}, which cannot hold every name; create it with ENCODING 'UTF8'"
            )
        # A body is sent as hexadecimal digits.
        if 2 * self._max_row_bytes > _MOST_BYTES:
            most = _MOST_BYTES // 2
            raise StoreUnusable(
                self.name,
                f"max_body_bytes needs rows of {self._max_row_bytes} bytes, PostgreSQL accepts {most}; "
                "lower max_body_bytes",
            )
        for name, value in zip(names[1:], values, strict=True):
            if value == "off":
                _log.warning(
                    "store %s: %s is off, so a crash of the server can lose messages; set it to on", self.name, name
                )


def _mode_where_read_only(connection: Any) -> str:
    """Return the mode that lets a transaction write if a role, a database or the URL makes sessions read-only.

    The server's own configuration is respected: an operator has made it read-only, and another one may replace it.
    """
    source = "SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'"
    return " READ WRITE" if connection.execute(source).fetchone()[0] in _OF_SESSIONS else ""


def _state_of_refusal(text: str) -> str | None:
    return next((state for pattern, state in _REFUSALS if pattern.search(text)), None)

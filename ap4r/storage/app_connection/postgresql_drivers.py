"""Connections of psycopg, which is psycopg 3, and of psycopg2."""

from __future__ import annotations

import sys
from abc import abstractmethod
from typing import Any, ClassVar

from sqlalchemy import URL

from ap4r.storage.app_connection.driver import DatabaseIdentity, DriverConnection


class _Postgresql(DriverConnection):
    """What both have in common: libpq."""

    dialect: ClassVar[str] = "postgresql"
    # Of libpq's PGTransactionStatusType.
    _IDLE, _ACTIVE, _IN_ERROR, _UNKNOWN = 0, 1, 3, 4
    is_owner_thread = True
    begins_by_itself = False

    @property
    def problem(self) -> str | None:
        """Return that it is closed, or busy with another statement, if it is."""
        if self.raw.closed or self._status == self._UNKNOWN:
            return "it is closed"
        return "another statement runs on it" if self._status == self._ACTIVE else None

    @property
    def is_autocommit(self) -> bool:
        """As the driver reports it."""
        return bool(self.raw.autocommit)

    @property
    def in_transaction(self) -> bool:
        """As libpq reports it."""
        return self._status != self._IDLE

    @property
    def has_failed(self) -> bool:
        """As libpq reports it."""
        return self._status == self._IN_ERROR

    @property
    def begin(self) -> str | None:
        """Send BEGIN only if the driver would not, and with the characteristics that were set on the connection."""
        return " ".join(["BEGIN", *self._characteristics()]) if self.is_autocommit else None

    def place(self) -> DatabaseIdentity:
        """Return libpq's database. The URL is the one that a store has, whichever driver is used here."""
        info = self.raw.info
        host, port, database, user = info.host or "localhost", info.port, info.dbname, info.user
        if host.startswith("/"):
            url = URL.create(_STORE, user, database=database, query={"host": host, "port": str(port)})
        else:
            url = URL.create(_STORE, user, None, host, port, database)
        return DatabaseIdentity(url.render_as_string(), ("postgresql", host, port, database, user))

    @property
    def _status(self) -> int:
        return int(self.raw.info.transaction_status)

    @abstractmethod
    def _characteristics(self) -> list[str]:
        """Return the characteristics that the connection sets for its transactions, in SQL."""


_STORE = "postgresql+psycopg"


class Psycopg(_Postgresql):
    """A connection of psycopg 3."""

    what: ClassVar[str] = "a psycopg connection"
    drivername: ClassVar[str] = "postgresql+psycopg"

    @property
    def problem(self) -> str | None:
        """Return also that it is in a pipeline."""
        if not self.raw.closed and self.raw.pgconn.pipeline_status:
            return "it is in pipeline mode, where the result of a statement is unknown; leave the pipeline first"
        return super().problem

    def cursor(self) -> Any:
        """Return a cursor of psycopg's own class, with its own rows."""
        import psycopg

        return psycopg.Cursor(self.raw, row_factory=psycopg.rows.tuple_row)

    def _characteristics(self) -> list[str]:
        words, raw = [], self.raw
        if raw.isolation_level is not None:
            words += ["ISOLATION LEVEL", raw.isolation_level.name.replace("_", " ")]
        return words + _modes(raw.read_only, raw.deferrable)


class Psycopg2(_Postgresql):
    """A connection of psycopg2."""

    what: ClassVar[str] = "a psycopg2 connection"
    drivername: ClassVar[str] = "postgresql+psycopg2"

    @property
    def problem(self) -> str | None:
        """Return also that it is asynchronous."""
        return "it is asynchronous, and ap4r for WSGI is synchronous" if self.raw.async_ else super().problem

    def cursor(self) -> Any:
        """Return a cursor of psycopg2's own class, with its own rows."""
        return self._extensions.cursor(self.raw)

    def commit(self) -> None:
        """Commit. Under autocommit psycopg2 ignores a transaction that was begun in SQL."""
        self._end("COMMIT")
        super().commit()

    def rollback(self) -> None:
        """Roll back, under autocommit in SQL too."""
        self._end("ROLLBACK")
        super().rollback()

    def _end(self, statement: str) -> None:
        if not self.raw.closed and self.is_autocommit and self.in_transaction:
            with self.cursor() as cursor:
                cursor.execute(statement)

    def _characteristics(self) -> list[str]:
        raw = self.raw
        level = self._levels.get(raw.isolation_level)
        return (["ISOLATION LEVEL", level] if level else []) + _modes(raw.readonly, raw.deferrable)

    @property
    def _extensions(self) -> Any:
        return sys.modules["psycopg2.extensions"]

    @property
    def _levels(self) -> dict[int, str]:
        names = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
        return {getattr(self._extensions, f"ISOLATION_LEVEL_{name.replace(' ', '_')}"): name for name in names}


def _modes(read_only: bool | None, deferrable: bool | None) -> list[str]:
    words = []
    if read_only is not None:
        words.append("READ ONLY" if read_only else "READ WRITE")
    if deferrable is not None:
        words.append("DEFERRABLE" if deferrable else "NOT DEFERRABLE")
    return words

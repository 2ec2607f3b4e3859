"""Connections of psycopg, which is psycopg 3, and of psycopg2."""

from __future__ import annotations

import sys
from abc import abstractmethod
from typing import Any, ClassVar

from sqlalchemy import URL

from ap4r.storage.app_connection.driver import DatabaseIdentity, Endings


class _Postgresql(Endings):
    """What both have in common: libpq."""

    dialect: ClassVar[str] = "postgresql"
    # Of libpq's PGTransactionStatusType.
    _IDLE, _ACTIVE, _IN_ERROR, _UNKNOWN = 0, 1, 3, 4
    is_owner_thread = True
    begins_by_itself = False

    @property
    def problem(self) -> str | None:
        """Say whether it is closed or in the middle of something."""
        if self.raw.closed or self._status == self._UNKNOWN:
            return "it is closed"
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
        """Say BEGIN only where the driver would not, and then of the kind that was set on the connection."""
        return " ".join(["BEGIN", *self._characteristics()]) if self.is_autocommit else None

    def place(self) -> DatabaseIdentity:
        """Ask libpq where it is connected. The URL is the one that a store has, whichever driver is at work here."""
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
        """Give what was set on the connection for its transactions, in SQL."""


_STORE = "postgresql+psycopg"


class Psycopg(_Postgresql):
    """A connection of psycopg 3."""

    what: ClassVar[str] = "a psycopg connection"
    drivername: ClassVar[str] = "postgresql+psycopg"

    @property
    def problem(self) -> str | None:
        """Say also whether it is in a pipeline."""
        if not self.raw.closed and self.raw.pgconn.pipeline_status:
            return "it is in pipeline mode, where what a statement has done is not known; leave the pipeline first"
        return super().problem

    def cursor(self) -> Any:
        """Give a cursor of psycopg's own class, with its own rows."""
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
        """Say also whether it is asynchronous."""
        return "it is asynchronous, and ap4r is for WSGI, which is not" if self.raw.async_ else super().problem

    def cursor(self) -> Any:
        """Give a cursor of psycopg2's own class, with its own rows."""
        return self._extensions.cursor(self.raw)

    def commit(self) -> None:
        """Commit. Under autocommit psycopg2 takes no notice of a transaction that was begun in SQL."""
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

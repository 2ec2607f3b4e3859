"""The tables, described once for every database.

A table per state keeps the hot ones small: a message's id is in exactly one of ready, scheduled, leased and dead,
its body always in messages. Instants are whole microseconds since 1970 (UTC) by the store's clock.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

#: The first number changes when older code must not run on the tables, the second when it may run on them.
VERSION = "1.3"

DETAIL_BYTES = 4 * 1024  #: the kept part of a failure's text, with a dead letter and with an attempt
_ID = LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
_DIGEST = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
_BLOB = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def _text(length: int) -> TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


class _Key(TypeDecorator[str]):
    """Text that is compared byte by byte. MySQL's binary collation ignores trailing spaces."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.VARBINARY(self.impl_instance.length))  # type: ignore[attr-defined]
        return dialect.type_descriptor(self.impl_instance)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return value.encode() if value is not None and dialect.name in ("mysql", "mariadb") else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return value.decode() if isinstance(value, bytes) else value


def _counters() -> list[Column[Any]]:
    return [
        Column("attempt", Integer, nullable=False),  # calls begun; never decreases
        Column("failures", Integer, nullable=False),  # failures that count against max_deliveries
        Column("crashes", SmallInteger, nullable=False),  # dispatchers that died while holding it
    ]


class Schema:
    """The tables under one prefix.

    :param namespace: the schema of PostgreSQL that holds them; None leaves it to the connection's search_path.
    """

    def __init__(self, prefix: str, namespace: str | None = None) -> None:
        self.prefix = prefix
        self.namespace: str | None = None
        self.metadata = MetaData()
        narrow: dict[str, Any] = {"sqlite_with_rowid": False, "mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}

        self.messages = self._table(
            "messages",
            Column("id", _ID, primary_key=True),
            Column("target", _BLOB, nullable=False),
            Column("method", _text(32), nullable=False),
            Column("headers", _BLOB, nullable=False),  # JSON: a list of [name, value]
            Column("body", _BLOB, nullable=False),
            Column("protocol", _text(32), nullable=False),
            Column("delivery", _text(16), nullable=False),
            Column("max_deliveries", Integer),
            Column("timeout_seconds", Float(53)),
            Column("trace_id", _text(32)),
            Column("stored_at", BigInteger, nullable=False),
            Column("first_due_at", BigInteger, nullable=False),
            Column("expires_at", BigInteger),
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        self.ready = self._table(
            "ready",
            Column("lane", Integer, primary_key=True, autoincrement=False),
            Column(
                "position", BigInteger, primary_key=True, autoincrement=False
            ),  # when it fell due; negative: replayed
            Column("id", _ID, primary_key=True),
            *_counters(),
            **narrow,
        )
        self.scheduled = self._table(
            "scheduled",
            Column("due_at", BigInteger, primary_key=True, autoincrement=False),
            Column("id", _ID, primary_key=True),
            Column("lane", Integer, nullable=False),
            *_counters(),
            Index(f"{prefix}scheduled_lane", "lane"),
            **narrow,
        )
        self.leased = self._table(
            "leased",
            Column("id", _ID, primary_key=True),
            Column("token", _ID, nullable=False),
            Column("owner", _text(64), nullable=False),
            Column("lane", Integer, nullable=False),
            Column("position", BigInteger, nullable=False),
            *_counters(),
            Index(f"{prefix}leased_owner", "owner"),
            **narrow,
        )
        self.dead = self._table(
            "dead",
            Column("id", _ID, primary_key=True),
            Column("lane", Integer, nullable=False),
            Column("died_at", BigInteger, nullable=False),
            Column("reason", _text(32), nullable=False),
            Column("status", Integer),
            Column("detail", _BLOB, nullable=False),
            Column("called", Boolean(create_constraint=False), nullable=False),
            *_counters(),
            Index(f"{prefix}dead_lane", "lane", "id"),
            **narrow,
        )
        self.attempts = self._table(
            "attempts",
            Column("id", _ID, primary_key=True),
            Column("ended_at", BigInteger, primary_key=True, autoincrement=False),
            Column("attempt", Integer, nullable=False),
            Column("reason", _text(32), nullable=False),
            Column("status", Integer),
            Column("detail", _BLOB, nullable=False),
            Column("seconds", Float(53), nullable=False),
            **narrow,
        )
        self.lanes = self._table(
            "lanes",
            Column("id", Integer, primary_key=True),
            Column("queue", _Key(128), nullable=False),
            Column("origin", _Key(320), nullable=False),
            Column("used_at", BigInteger, nullable=False),
            UniqueConstraint("queue", "origin", name=f"{prefix}lanes_name"),
            sqlite_autoincrement=True,
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        self.dispatchers = self._table(
            "dispatchers",
            Column("owner", _text(64), primary_key=True),
            Column("name", _text(255), nullable=False),
            Column("version", _text(32), nullable=False),
            Column("bell", _text(255), nullable=False),
            Column("beat", BigInteger, nullable=False),
            Column("started_at", BigInteger, nullable=False),
            Column("seen_at", BigInteger, nullable=False),
            Column("held", _BLOB),  # JSON, short: its holds, for `ap4r status`; NULL for none
            **narrow,
        )
        self.puts = self._table(
            "puts",
            Column("id", _ID, primary_key=True),
            Column("stored_at", BigInteger, nullable=False),
            Index(f"{prefix}puts_stored_at", "stored_at"),
            **narrow,
        )

        self.inbox = self._table(
            "inbox",
            Column("id", _DIGEST, primary_key=True),  # of sender, the sender's id, and path
            Column("content", _DIGEST, nullable=False),  # of the request, to detect another message under the same id
            Column("recorded_at", BigInteger, nullable=False),
            Column("expires_at", BigInteger, nullable=False),
            Column("status", Integer),  # of the stored answer; NULL without one
            Column("headers", _BLOB),  # JSON: a list of [name, value]
            Column("body", _BLOB),
            Index(f"{prefix}inbox_expires_at", "expires_at"),
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )

        self.place(namespace)

    def place(self, namespace: str | None) -> None:
        """Make statements that are compiled from now on name a schema of PostgreSQL."""
        self.namespace = namespace
        for table in self.metadata.tables.values():
            table.schema = namespace

    @property
    def version_table(self) -> str:
        """The table in which Alembic keeps the version."""
        return f"{self.prefix}version"

    def _table(self, name: str, *parts: Any, **options: Any) -> Table:
        return Table(f"{self.prefix}{name}", self.metadata, *parts, **options)

"""1.1: the first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context
from sqlalchemy.dialects import mysql

from ap4r.storage.schema.migrations.steps import create_index, create_table

revision = "1.1"
down_revision = None

_ID = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_INNODB: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}
_NARROW: dict[str, Any] = {"sqlite_with_rowid": False, **_INNODB}


def _text(length: int) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _key(length: int) -> sa.types.TypeEngine[str]:
    exact: Any = mysql.VARBINARY(length)
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _counters() -> list[sa.Column[int]]:
    return [
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("crashes", sa.SmallInteger, nullable=False),
    ]


def upgrade() -> None:
    """Create every table."""
    prefix = context.config.attributes["table_prefix"]
    create_table(
        f"{prefix}messages",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("target", _BLOB, nullable=False),
        sa.Column("method", _text(32), nullable=False),
        sa.Column("headers", _BLOB, nullable=False),
        sa.Column("body", _BLOB, nullable=False),
        sa.Column("protocol", _text(32), nullable=False),
        sa.Column("delivery", _text(16), nullable=False),
        sa.Column("max_deliveries", sa.Integer),
        sa.Column("timeout_seconds", sa.Float(53)),
        sa.Column("trace_id", _text(32)),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("first_due_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        **_INNODB,
    )
    create_table(
        f"{prefix}ready",
        sa.Column("lane", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", _ID, primary_key=True),
        *_counters(),
        **_NARROW,
    )
    create_table(
        f"{prefix}scheduled",
        sa.Column("due_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", _ID, primary_key=True),
        sa.Column("lane", sa.Integer, nullable=False),
        *_counters(),
        **_NARROW,
    )
    create_index(f"{prefix}scheduled_lane", f"{prefix}scheduled", ["lane"])
    create_table(
        f"{prefix}leased",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("token", _ID, nullable=False),
        sa.Column("owner", _text(64), nullable=False),
        sa.Column("lane", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        *_counters(),
        **_NARROW,
    )
    create_index(f"{prefix}leased_owner", f"{prefix}leased", ["owner"])
    create_table(
        f"{prefix}dead",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("lane", sa.Integer, nullable=False),
        sa.Column("died_at", sa.BigInteger, nullable=False),
        sa.Column("reason", _text(32), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("detail", _BLOB, nullable=False),
        sa.Column("called", sa.Boolean(create_constraint=False), nullable=False),
        *_counters(),
        **_NARROW,
    )
    create_index(f"{prefix}dead_lane", f"{prefix}dead", ["lane", "id"])
    create_table(
        f"{prefix}attempts",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("ended_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reason", _text(32), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("detail", _BLOB, nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        **_NARROW,
    )
    create_table(
        f"{prefix}lanes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("queue", _key(128), nullable=False),
        sa.Column("origin", _key(320), nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("queue", "origin", name=f"{prefix}lanes_name"),
        sqlite_autoincrement=True,
        **_INNODB,
    )
    create_table(
        f"{prefix}dispatchers",
        sa.Column("owner", _text(64), primary_key=True),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("version", _text(32), nullable=False),
        sa.Column("bell", _text(255), nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        **_NARROW,
    )
    create_table(
        f"{prefix}puts",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        **_NARROW,
    )
    create_index(f"{prefix}puts_stored_at", f"{prefix}puts", ["stored_at"])

"""1.2: the inbox, which remembers what was received."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context
from sqlalchemy.dialects import mysql

from ap4r.storage.schema.migrations.steps import create_index, create_table

revision = "1.2"
down_revision = "1.1"

_DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_INNODB: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}


def upgrade() -> None:
    """Create the table of the inbox."""
    prefix = context.config.attributes["table_prefix"]
    create_table(
        f"{prefix}inbox",
        sa.Column("id", _DIGEST, primary_key=True),
        sa.Column("content", _DIGEST, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", _BLOB),
        sa.Column("body", _BLOB),
        **_INNODB,
    )
    create_index(f"{prefix}inbox_expires_at", f"{prefix}inbox", ["expires_at"])

"""1.3: the holds of each dispatcher, for `ap4r status`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context
from sqlalchemy.dialects import mysql

from ap4r.storage.schema.migrations.steps import add_column

revision = "1.3"
down_revision = "1.2"

_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    """Add the column."""
    prefix = context.config.attributes["table_prefix"]
    add_column(f"{prefix}dispatchers", sa.Column("held", _BLOB))

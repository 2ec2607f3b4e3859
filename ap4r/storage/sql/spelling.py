"""What each kind of database spells in its own way within a statement, whoever's connection it runs on."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import mysql, postgresql, sqlite

#: What reads the clock, in microseconds since 1970. MySQL's not through its time zone, which has an hour twice each
#: autumn; SQLite's is this host's.
MYSQL_CLOCK = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
POSTGRESQL_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def mysql_insert_new(table: Table) -> Any:
    """Give an INSERT … ON DUPLICATE KEY UPDATE that updates nothing; IGNORE would swallow other errors too."""
    insert = mysql.insert(table)
    key = next(iter(table.primary_key)).name
    return insert.on_duplicate_key_update({key: table.c[key]})


def postgresql_insert_new(table: Table) -> Any:
    """Give an INSERT … ON CONFLICT DO NOTHING."""
    return postgresql.insert(table).on_conflict_do_nothing()


def sqlite_insert_new(table: Table) -> Any:
    """Give an INSERT … ON CONFLICT DO NOTHING."""
    return sqlite.insert(table).on_conflict_do_nothing()


def host_clock() -> int:
    """Read this host's clock, in microseconds: it is a file's too."""
    return time.time_ns() // 1_000

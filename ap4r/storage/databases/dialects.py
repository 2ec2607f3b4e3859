"""What each kind of database spells in its own way within a statement, whoever's connection it runs on.

A dialect is imported where it is used: each takes memory, and a process uses one.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Table

#: What reads the clock, in microseconds since 1970. MySQL's not through its time zone, which has an hour twice each
#: autumn; SQLite's is this host's.
MYSQL_CLOCK = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
POSTGRESQL_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def mysql_insert_new(table: Table) -> Any:
    """Give an INSERT … ON DUPLICATE KEY UPDATE that updates nothing; IGNORE would swallow other errors too."""
    from sqlalchemy.dialects import mysql

    insert = mysql.insert(table)
    key = next(iter(table.primary_key)).name
    return insert.on_duplicate_key_update({key: table.c[key]})


def postgresql_insert_new(table: Table) -> Any:
    """Give an INSERT … ON CONFLICT DO NOTHING."""
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()


def sqlite_insert_new(table: Table) -> Any:
    """Give an INSERT … ON CONFLICT DO NOTHING."""
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table).on_conflict_do_nothing()


def host_clock() -> int:
    """Read this host's clock, in microseconds: it is a file's too."""
    return time.time_ns() // 1_000

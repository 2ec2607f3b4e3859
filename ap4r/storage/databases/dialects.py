"""SQL that each kind of database spells in its own way, on any connection.

A dialect is imported where it is used: each takes memory, and a process uses one.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Table

#: The expressions that read the clock, in microseconds since 1970. MySQL's does not use its time zone, in which an hour
#: occurs twice each autumn; SQLite's clock is this host's.
MYSQL_CLOCK = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
POSTGRESQL_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def mysql_insert_new(table: Table) -> Any:
    """Return an INSERT … ON DUPLICATE KEY UPDATE that updates nothing; IGNORE would hide other errors too."""
    from sqlalchemy.dialects import mysql

    insert = mysql.insert(table)
    key = next(iter(table.primary_key)).name
    return insert.on_duplicate_key_update({key: table.c[key]})


def postgresql_insert_new(table: Table) -> Any:
    """Return an INSERT … ON CONFLICT DO NOTHING."""
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()


def sqlite_insert_new(table: Table) -> Any:
    """Return an INSERT … ON CONFLICT DO NOTHING."""
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table).on_conflict_do_nothing()


def host_clock() -> int:
    """Return this host's clock, in microseconds, which is also the clock of a SQLite file."""
    return time.time_ns() // 1_000

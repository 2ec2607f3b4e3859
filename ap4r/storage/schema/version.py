"""The version of a store's tables: read it, create or migrate the tables, refuse versions that this code cannot use."""

from __future__ import annotations

import io
import logging
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select

from ap4r.errors import NO_TABLES, SchemaMismatch
from ap4r.storage.schema.tables import VERSION, Schema

_USUAL_PREFIX = "ap4r_"

#: Alembic keeps a migration's state in globals, so one thread migrates at a time.
_migrating = threading.Lock()


def found_version(connection: Connection, schema: Schema) -> str | None:
    """Return the version of the tables, or None if there are none."""
    if not inspect(connection).has_table(schema.version_table, schema=schema.namespace):
        return None
    return connection.execute(select(_version_table(schema).c.version_num)).scalar()


def runs_on(found: str, expected: str = VERSION) -> bool:
    """Return whether code of version `expected` runs on tables of version `found`: same major, same or newer minor."""
    numbers, wanted = _numbers(found), _numbers(expected)
    return numbers is not None and wanted is not None and numbers[0] == wanted[0] and numbers[1] >= wanted[1]


def migrate_command(store: str, prefix: str = "") -> str:
    """Return the command that creates or migrates the tables of a store, quoted for a shell."""
    command = f"ap4r migrate --store {shlex.quote(store)}"
    if prefix not in ("", _USUAL_PREFIX):
        command = f"AP4R_TABLE_PREFIX={prefix} {command}"
    return f"{command} (with the password for ***)" if "***" in store else command


def check_version(found: str | None, store: str, prefix: str = "") -> None:
    """Refuse tables that this code cannot run on. `prefix` is the prefix of their names.

    :raises SchemaMismatch: names the command to run.
    """
    if found is None:
        raise SchemaMismatch(store, NO_TABLES, VERSION, migrate_command(store, prefix))
    if not runs_on(found):
        command = migrate_command(store, prefix) if can_migrate(found) else "pip install --upgrade ap4r"
        raise SchemaMismatch(store, found, VERSION, command)


def can_migrate(found: str | None) -> bool:
    """Return whether this code can migrate tables of version `found`: they are older, or there are none."""
    if found is None:
        return True
    numbers, wanted = _numbers(found), _numbers(VERSION)
    return numbers is not None and wanted is not None and numbers < wanted


def create_or_migrate(connection: Connection, schema: Schema) -> None:
    """Create the tables, or migrate older ones to this code's version, inside the connection's open transaction."""
    found = found_version(connection, schema)
    if found is None:
        _make(connection, schema)
    elif can_migrate(found):
        with _alembic(schema, connection=connection) as (command, config):
            command.upgrade(config, "head")


def _make(connection: Connection, schema: Schema) -> None:
    """Create the missing tables. The version is written last, so that an interrupted creation counts as none."""
    looked = inspect(connection)
    for table in schema.metadata.sorted_tables:
        if not looked.has_table(table.name, schema=schema.namespace):
            table.create(connection)
            continue
        there = {index["name"] for index in looked.get_indexes(table.name, schema=schema.namespace)}
        for index in table.indexes:
            if index.name not in there:
                index.create(connection)
    # As Alembic creates and fills it; Alembic migrates the tables from then on.
    noted = _version_table(schema)
    noted.create(connection, checkfirst=True)
    connection.execute(noted.insert(), {"version_num": VERSION})


def _version_table(schema: Schema) -> Table:
    return Table(
        schema.version_table,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{schema.version_table}_pkc"),
        schema=schema.namespace,
    )


def script(found: str | None, schema: Schema, dialect: str) -> str:
    """Return the SQL that migrates tables of version `found` to this code's, in the syntax of a dialect."""
    if not can_migrate(found):
        return ""
    written = io.StringIO()
    with _alembic(schema, dialect=dialect) as (command, config):
        config.output_buffer = written
        command.upgrade(config, f"{found or 'base'}:head", sql=True)
    return written.getvalue()


@contextmanager
def _alembic(schema: Schema, **attributes: object) -> Iterator[tuple[Any, Any]]:
    # Alembic takes longer to import than everything else, and 20 MB; only a process that migrates tables needs it.
    # It also logs its plug-ins while it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    config = Config()
    migrations = str(resources.files("ap4r.storage.schema").joinpath("migrations"))
    config.set_main_option("script_location", migrations.replace("%", "%%"))  # a ConfigParser reads it
    config.set_main_option("path_separator", "os")
    config.attributes.update(version_table=schema.version_table, table_prefix=schema.prefix, **attributes)
    with _migrating:
        yield command, config


def _numbers(version: str) -> tuple[int, int] | None:
    major, dot, minor = version.partition(".")
    if dot and major.isdecimal() and minor.isdecimal():
        return int(major), int(minor)
    return None

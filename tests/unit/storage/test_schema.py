"""The tables' description: what the hot ones must and must not carry."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.schema import CreateTable

from ap4r.storage.schema.tables import Schema

SCHEMA = Schema("p_")
HOT = [SCHEMA.ready, SCHEMA.scheduled, SCHEMA.leased]


def test_every_name_has_the_prefix():
    """Tables, indexes and the table of the version begin with the prefix, so that two stores may share a database."""
    names = [table.name for table in SCHEMA.metadata.tables.values()]
    names += [index.name for table in SCHEMA.metadata.tables.values() for index in table.indexes]
    names.append(SCHEMA.version_table)
    assert all(name.startswith("p_") for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", HOT, ids=lambda table: table.name)
def test_hot_tables_are_narrow(table):
    """What is read at every claim carries the lane and the counters, and no text or body."""
    names = {column.name for column in table.columns}
    assert {"id", "lane", "attempt", "failures", "crashes"} <= names
    assert not names & {"body", "target", "headers", "detail"}
    assert "WITHOUT ROWID" in str(CreateTable(table).compile(dialect=sqlite.dialect()))


@pytest.mark.parametrize("table", SCHEMA.metadata.tables.values(), ids=lambda table: table.name)
def test_on_mysql_text_is_compared_exactly_and_bodies_are_large(table):
    """Key columns tell case, accents and blanks apart, and no body is cut at 64 KiB."""
    made = str(CreateTable(table).compile(dialect=mysql.dialect()))
    assert made.count("VARCHAR") == made.count("COLLATE utf8mb4_bin")
    assert not [word for word in made.split() if word in ("TEXT", "BLOB", "VARCHAR(65535)")]
    assert "ENGINE=InnoDB" in made

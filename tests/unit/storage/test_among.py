"""Rows by a list of ids: all of them, each once, however long the list is."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, create_engine, select

from ap4r.storage.access.statements import Among

TABLE = Table("things", MetaData(), Column("id", LargeBinary, primary_key=True), Column("number", Integer))
AMONG = Among(lambda ids: select(TABLE.c.number).where(TABLE.c.id.in_(ids)))


@pytest.fixture(scope="module")
def connection():
    """Return a database in memory with a thousand rows."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        TABLE.create(connection)
        connection.execute(TABLE.insert(), [{"id": number.to_bytes(2), "number": number} for number in range(1_000)])
        yield connection
    engine.dispose()


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 32, 128, 256, 257, 999])
def test_each_is_found_once(connection, count):
    """Lists are filled up with an id that stands there already."""
    found = [number for (number,) in AMONG.rows(connection, [number.to_bytes(2) for number in range(count)])]
    assert sorted(found) == list(range(count))


def test_what_is_not_there_is_left_out(connection):
    """Also where it is the id that fills the list up."""
    assert AMONG.rows(connection, [(7).to_bytes(2), (5_000).to_bytes(2)]) == [(7,)]

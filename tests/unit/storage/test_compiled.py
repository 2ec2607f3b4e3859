"""Statements that are compiled once: they do what their description says, on every kind of database."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, bindparam, create_engine, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from ap4r.storage.access.statements import Compiled, _Text

TABLE = Table("things", MetaData(), Column("id", LargeBinary, primary_key=True), Column("number", Integer))
FIRST = (
    select(TABLE.c.id)
    .where(TABLE.c.number >= bindparam("least"), TABLE.c.number != bindparam("other"))
    .order_by(TABLE.c.number)
    .limit(bindparam("most"))
)


@pytest.fixture
def connection():
    """Return a database in memory with five rows."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        TABLE.create(connection)
        rows = [{"number": number, "id": bytes([number])} for number in range(5)]
        connection.exec_driver_sql(*Compiled(TABLE.insert()).for_rows(connection.dialect, rows))
        yield connection
    engine.dispose()


def test_values_reach_their_places(connection):
    """Values are given by name, in whatever order, and each run has its own."""
    first = Compiled(FIRST)
    assert first.execute(connection, {"most": 2, "other": 2, "least": 1}).scalars().all() == [b"\1", b"\3"]
    assert first.execute(connection, {"least": 3, "most": 9, "other": 0}).scalars().all() == [b"\3", b"\4"]


def test_the_rows_changed_are_counted(connection):
    """An UPDATE tells how many rows it met."""
    mark = Compiled(TABLE.update().where(TABLE.c.number > bindparam("least")).values(number=TABLE.c.number + 1))
    assert mark.execute(connection, {"least": 2}).rowcount == 2
    assert mark.execute(connection, {"least": 9}).rowcount == 0


@pytest.mark.parametrize("dialect", [sqlite.dialect(), mysql.dialect(), postgresql.dialect()], ids=lambda one: one.name)
def test_every_value_of_every_dialect_is_given(dialect):
    """Whether a driver takes values in order or by name, it is given all that the text asks for."""
    text = _Text(FIRST, dialect)
    given = text.parameters({"least": 7, "other": 8, "most": 9})
    values = given.values() if isinstance(given, dict) else given
    assert {7, 8, 9} <= set(values)
    assert len(values) == text.sql.count("?") + text.sql.count("%")

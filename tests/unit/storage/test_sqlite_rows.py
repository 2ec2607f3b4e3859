"""Many rows in one statement of SQLite's: the same rows as one by one, whatever they have in common."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, create_engine, select

from ap4r.storage.databases.sqlite.bulk import delete_rows, insert_rows

TABLE = Table(
    "order", MetaData(),  # a word of SQL's, which has to be quoted
    Column("lane", Integer, primary_key=True), Column("position", Integer, primary_key=True),
    Column("id", LargeBinary, primary_key=True), Column("token", LargeBinary),
)  # fmt: skip


@pytest.fixture(scope="module")
def connection():
    """Return a database in memory."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        TABLE.create(connection)
        yield connection
    engine.dispose()


def row(number, lane=1, position=0, token=b"t"):
    """Create the row of this number."""
    return {"lane": lane, "position": position, "id": number.to_bytes(2), "token": token}


def fill(connection, rows):
    """Replace the table's rows by these."""
    connection.exec_driver_sql('DELETE FROM "order"')
    insert_rows(connection, TABLE, rows)


def numbers(connection):
    """Return the numbers of the rows that are there."""
    return {int.from_bytes(stored) for stored in connection.execute(select(TABLE.c.id)).scalars()}


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 33, 128, 129, 300, 700])
def test_all_are_inserted(connection, count):
    """However many they are, each as it was given."""
    rows = [row(number, lane=number % 3, position=-number) for number in range(count)]
    fill(connection, rows)
    found = [dict(one._mapping) for one in connection.execute(select(TABLE).order_by(TABLE.c.id))]
    assert found == rows


@pytest.mark.parametrize("count", [1, 2, 8, 9, 256, 257, 600])
@pytest.mark.parametrize("columns", [("id",), ("id", "token"), ("lane", "position", "id"), ("position", "id")])
def test_those_named_are_deleted_and_counted(connection, count, columns):
    """By whatever columns they are named, and no others are."""
    rows = [row(number, position=number) for number in range(count + 50)]
    fill(connection, rows)
    named = [{name: one[name] for name in columns} for one in rows[25 : 25 + count]]
    assert delete_rows(connection, TABLE, named) == count
    assert numbers(connection) == {*range(25), *range(25 + count, count + 50)}


def test_one_that_does_not_match_is_not_deleted(connection):
    """A lease under another token stays, and is not counted."""
    fill(connection, [row(number, token=b"t" if number % 2 else b"u") for number in range(40)])
    named = [{"id": number.to_bytes(2), "token": b"t"} for number in range(40)]
    assert delete_rows(connection, TABLE, named) == 20
    assert numbers(connection) == set(range(0, 40, 2))


def test_what_lies_between_is_left_alone(connection):
    """Rows of the same token, or of the same range, that were not named stay: they are other messages."""
    rows = [row(number, position=number, token=b"t" if number % 3 else b"u") for number in range(200)]
    fill(connection, rows)
    chosen = range(0, 200, 2)
    named = [{"id": rows[number]["id"], "token": rows[number]["token"]} for number in chosen]
    assert delete_rows(connection, TABLE, named) == 100
    assert numbers(connection) == set(range(1, 200, 2))


@given(st.lists(st.sampled_from([b"t", b"u", b"v"]), min_size=2, max_size=60), st.data())
def test_rows_of_several_tokens(connection, tokens, data):
    """Those that are there under the token named for them go, and no others."""
    rows = [row(number, token=token) for number, token in enumerate(tokens)]
    said = data.draw(st.dictionaries(st.integers(0, 80), st.sampled_from([b"t", b"u", b"v"]), min_size=1))
    fill(connection, rows)
    gone = {number for number, token in said.items() if number < len(tokens) and tokens[number] == token}
    named = [{"id": number.to_bytes(2), "token": token} for number, token in said.items()]
    assert delete_rows(connection, TABLE, named) == len(gone)
    assert numbers(connection) == set(range(len(tokens))) - gone


places = st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=1, max_size=60)


@given(places, st.data())
def test_rows_of_several_lanes(connection, where, data):
    """However they are spread over lanes and positions, those named go and the others stay."""
    rows = [row(number, lane, position) for number, (lane, position) in enumerate(where)]
    chosen = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))
    fill(connection, rows)
    named = [{name: rows[number][name] for name in ("lane", "position", "id")} for number in chosen]
    assert delete_rows(connection, TABLE, named) == len(chosen)
    assert numbers(connection) == set(range(len(rows))) - chosen

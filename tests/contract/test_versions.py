"""The tables and their version: made on first use, run on by what can, refused with the command that mends it."""

from __future__ import annotations

import pytest
from sqlalchemy import MetaData, Table, column, inspect, select, table, text, update

from ap4r.errors import SchemaMismatch, StoreUnusable
from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered, PutBack
from ap4r.storage.schema import version
from ap4r.storage.schema.tables import VERSION, Schema
from tests.support.factories import (
    NOW,
    claim,
    counts,
    dead,
    dispatcher,
    ids,
    message,
    messages,
    put,
    retry,
    settle,
)


@pytest.fixture
def empty(shared):
    """Return a database without tables."""
    shared.clear()
    return shared


def tables(backend):
    """List the tables of a database."""
    with backend.engine().connect() as connection:
        return set(inspect(connection).get_table_names())


def set_version(backend, version):
    """Write another version into the tables."""
    with backend.engine().begin() as connection:
        connection.execute(update(table("ap4r_version", column("version_num"))).values(version_num=version))


#: One call of each method that talks to the database.
CALLS = {
    "prepare": lambda store: store.prepare(),
    "put": lambda store: store.put(Put(new_id(), (message(),))),
    "register": lambda store: store.register("one", "one", "1", ""),
    "unregister": lambda store: store.unregister("one"),
    "look": lambda store: store.look(),
    "rescue": lambda store: store.rescue("one", 1),
    "lanes": lambda store: store.lanes([1]),
    "bells": lambda store: store.bells(),
    "dead": lambda store: store.dead(),
    "replay": lambda store: store.replay([new_id()]),
    "status": lambda store: store.status(),
    "prune": lambda store: store.prune(),
}


class TestFirstUse:
    @pytest.mark.parametrize("call", list(CALLS))
    def test_any_call_makes_the_tables(self, empty, opened, call):
        """Whatever is asked of an empty store first, it gets its tables and answers."""
        store = opened(empty)()
        CALLS[call](store)
        assert "ap4r_messages" in tables(empty)
        assert store.version() == VERSION

    def test_preparing_again_changes_nothing(self, shared, opened):
        """A store with tables keeps them, and what is in them."""
        store = opened(shared)()
        put(store, message())
        store.prepare()
        opened(shared)().prepare()
        assert counts(store) == (1, 0, 0, 0)

    def test_tables_of_the_application_are_left_alone(self, empty, opened):
        """A store may live beside other tables."""
        with empty.engine().begin() as connection:
            connection.execute(text("CREATE TABLE orders (id INTEGER)"))
            connection.execute(text("INSERT INTO orders VALUES (12)"))
        put(opened(empty)(), message())
        with empty.engine().connect() as connection:
            assert connection.execute(text("SELECT id FROM orders")).scalar_one() == 12


class TestOtherVersions:
    @pytest.mark.parametrize("version", ["1.4", "1.10", "1.999"])
    def test_a_newer_minor_version_is_run(self, shared, opened, version):
        """Tables of a newer minor version are used as they are, and stay so."""
        set_version(shared, version)
        store = opened(shared)()
        one = message()
        put(store, one)
        assert ids(claim(store, dispatcher(store))) == [one.id]
        store.migrate()
        assert store.version() == version

    def test_what_a_newer_minor_version_has_added_is_let_be(self, shared, opened):
        """Columns and tables that a newer minor version has added disturb no operation."""
        schema = Schema("ap4r_")
        with shared.engine().begin() as connection:
            for name in schema.metadata.tables:
                connection.execute(text(f"ALTER TABLE {name} ADD COLUMN added INTEGER DEFAULT 12"))
        set_version(shared, "1.4")
        try:
            store = opened(shared)()
            put(store, *messages(4), message(delay_seconds=60.0))
            dispatcher(store, "other")
            leases = claim(store, dispatcher(store))
            outcomes = (Delivered(), retry(60.0), PutBack(), dead())
            settle(store, *zip(leases, outcomes, strict=True))
            [letter] = store.dead()
            store.replay([letter.message.id])
            assert len(claim(store, "other", now=NOW + 61)) == 4
            store.rescue("other", next(seen.beat for seen in store.look().beats if seen.owner == "other"), now=NOW)
            assert counts(store, now=NOW + 61) == (4, 0, 0, 0)
            store.prune(now=NOW + 10_000)
        finally:
            shared.clear()

    @pytest.mark.parametrize(
        ("version", "command"),
        [
            ("2.0", "pip install --upgrade ap4r"),
            ("10.1", "pip install --upgrade ap4r"),
            ("1.0", "ap4r migrate"),
            ("0.9", "ap4r migrate"),
            ("nonsense", "pip install --upgrade ap4r"),
        ],
    )
    def test_any_other_version_is_refused(self, shared, opened, version, command):
        """Tables of another version are refused, again and again, with the command that mends it."""
        set_version(shared, version)
        store = opened(shared)()
        for _ in range(2):
            with pytest.raises(SchemaMismatch, match=command) as caught:
                put(store, message())
        assert (caught.value.found, caught.value.expected) == (version, VERSION)
        assert version in str(caught.value)

    @pytest.mark.parametrize("call", list(CALLS))
    def test_every_call_refuses(self, shared, opened, call):
        """No call works on tables of another version."""
        set_version(shared, "2.0")
        with pytest.raises(SchemaMismatch):
            CALLS[call](opened(shared)())

    @pytest.mark.parametrize("version", ["2.0", "nonsense"])
    def test_migrating_never_goes_back(self, shared, opened, version):
        """Tables that are newer than this code are left as they are."""
        set_version(shared, version)
        store = opened(shared)()
        with pytest.raises(SchemaMismatch, match="upgrade"):
            store.migrate()
        assert store.version() == version

    def test_a_store_that_was_mended_is_used(self, shared, opened):
        """As soon as the version is right the same store goes on."""
        set_version(shared, "2.0")
        store = opened(shared)()
        with pytest.raises(SchemaMismatch):
            put(store, message())
        set_version(shared, VERSION)
        put(store, message())
        assert counts(store) == (1, 0, 0, 0)


class TestCreateTablesOff:
    @pytest.mark.parametrize("call", list(CALLS))
    def test_an_empty_store_is_refused(self, empty, opened, call):
        """With `create_tables` off nothing is made, and the error names the command that makes it."""
        store = opened(empty)(create_tables=False)
        with pytest.raises(StoreUnusable, match="ap4r migrate"):
            CALLS[call](store)

    def test_a_database_without_our_tables_is_refused(self, empty, opened):
        """A database that holds only others' tables gets none of ours."""
        with empty.engine().begin() as connection:
            connection.execute(text("CREATE TABLE orders (id INTEGER)"))
        with pytest.raises(SchemaMismatch, match="ap4r migrate"):
            put(opened(empty)(create_tables=False), message())
        assert tables(empty) == {"orders"}

    def test_a_prepared_store_is_used(self, shared, opened):
        """Tables that are there are used."""
        store = opened(shared)(create_tables=False)
        put(store, message())
        assert counts(store) == (1, 0, 0, 0)

    def test_migrating_makes_them(self, empty, opened):
        """`ap4r migrate` makes the tables whatever the setting says."""
        store = opened(empty)(create_tables=False)
        store.migrate()
        put(store, message())
        assert counts(store) == (1, 0, 0, 0)


def default_of(one, prefix):
    """Describe what the server fills in; a sequence is called after its table."""
    return None if one.server_default is None else str(one.server_default.arg).replace(prefix, "")


def described(backend, prefix):
    """Describe every table of a prefix as the database sees it."""
    metadata = MetaData()
    found = {}
    with backend.engine().connect() as connection:
        inspector = inspect(connection)
        for name in sorted(inspector.get_table_names()):
            if not name.startswith(prefix):
                continue
            reflected = Table(name, metadata, autoload_with=connection)
            found[name.removeprefix(prefix)] = (
                [
                    (one.name, str(one.type), one.nullable, one.primary_key, one.autoincrement, default_of(one, prefix))
                    for one in reflected.columns
                ],
                inspector.get_pk_constraint(name)["constrained_columns"],
                sorted(
                    (index["name"].removeprefix(prefix), index["column_names"], index["unique"])
                    for index in inspector.get_indexes(name)
                ),
                sorted(
                    (unique["name"].removeprefix(prefix), unique["column_names"])
                    for unique in inspector.get_unique_constraints(name)
                ),
                inspector.get_table_options(name),
            )
    return found


class TestSchema:
    def test_migrations_make_the_schema_that_the_code_describes(self, empty, opened):
        """All migrations together make the tables, columns, keys and indexes of `Schema`, and no others."""
        opened(empty)().prepare()
        made = described(empty, "ap4r_")
        with (
            empty.engine().begin() as connection,
            version._alembic(Schema("moved_"), connection=connection) as (command, config),
        ):
            command.upgrade(config, "head")
        assert described(empty, "moved_") == made
        assert set(made) == {"version", *(name.removeprefix("x_") for name in Schema("x_").metadata.tables)}

    def test_made_tables_are_moved_like_others(self, empty, opened):
        """Alembic takes the version that the making of the tables has noted for its own."""
        opened(empty)().prepare()
        with (
            empty.engine().begin() as connection,
            version._alembic(Schema("ap4r_"), connection=connection) as (command, config),
        ):
            command.upgrade(config, "head")
            noted = connection.execute(text("SELECT version_num FROM ap4r_version")).scalars().all()
        assert noted == [VERSION]

    def test_two_prefixes_in_one_database(self, empty, opened):
        """Stores with different prefixes share a database and see nothing of each other."""
        one, two = opened(empty)(table_prefix="one_"), opened(empty)(table_prefix="Two")
        first, second = message(), message()
        put(one, first)
        put(two, second)
        assert ids(claim(one, dispatcher(one))) == [first.id]
        assert ids(claim(two, dispatcher(two))) == [second.id]
        assert all(name.lower().startswith(("one_", "two")) for name in tables(empty))

    def test_the_version_is_written_down_once(self, empty, opened):
        """The tables say of which version they are."""
        opened(empty)().prepare()
        with empty.engine().connect() as connection:
            rows = connection.execute(select(column("version_num")).select_from(table("ap4r_version"))).all()
        assert [row[0] for row in rows] == [VERSION]


def test_a_closed_store_opens_again(shared, opened):
    """After `close` the next call connects again, and finds all that was there."""
    store = opened(shared)()
    put(store, message())
    for _ in range(2):
        store.close()
        store.close()
        assert counts(store, now=NOW) == (1, 0, 0, 0)
        store.close()
        put(store, message("queue.b"))


def test_the_name_is_the_url(shared, opened):
    """A store is called by its URL without the password, in errors too."""
    assert opened(shared)().name == shared.url.replace(":s3cret@", ":***@")

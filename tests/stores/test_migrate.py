"""Tables on servers: created once by the first process, or by a person with the printed SQL; finished if half done."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from ap4r.errors import SchemaMismatch
from ap4r.outcome.outcome import Delivered
from ap4r.storage.schema.tables import VERSION, Schema
from tests.stores.invariants import Crowd
from tests.support.factories import claim, dead, dispatcher, ids, message, put, settle

TABLES = {"ap4r_version", *Schema("ap4r_").metadata.tables}


@pytest.fixture
def engine(url):
    """Return access to the database without any code of the stores."""
    return create_engine(url, poolclass=NullPool)


def tables(engine):
    """List the tables and, with each, its indexes."""
    with engine.connect() as connection:
        looked = inspect(connection)
        return {
            table: sorted(str(index["name"]) for index in looked.get_indexes(table))
            for table in looked.get_table_names()
        }


def run(engine, script):
    """Run a script of statements as a person would."""
    with engine.connect() as connection:
        for statement in script.split(";\n"):
            lines = [line for line in statement.splitlines() if not line.startswith("--")]
            if "".join(lines).strip():
                connection.exec_driver_sql("\n".join(lines))
        connection.commit()


def test_the_printed_sql_makes_the_same_tables(store, engine, url, opened, processes, server, kind):
    """`ap4r migrate --sql` prints what makes every table and index; afterwards there is nothing to do."""
    printed = processes.ap4r("migrate", "--sql", "--store", url)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert tables(engine) == {}, "printing has changed something"
    run(engine, printed.stdout)
    by_hand = tables(engine)
    server.make("own")
    store.prepare()
    assert by_hand == tables(engine)
    checked = processes.ap4r("migrate", "--check", "--store", url)
    assert (checked.returncode, checked.stdout.count(VERSION)) == (0, 1)
    nothing = processes.ap4r("migrate", "--sql", "--store", url)
    assert (nothing.returncode, nothing.stdout) == (0, "")


def test_checking_changes_nothing(url, engine, processes):
    """`ap4r migrate --check` exits 1 where there are no tables, names the command without the password, makes none."""
    checked = processes.ap4r("migrate", "--check", "--store", url)
    assert checked.returncode == 1
    assert "ap4r migrate --store" in checked.stderr and "s3cret" not in checked.stderr
    assert tables(engine) == {}


def test_without_create_tables_nothing_is_made(url, engine, opened):
    """With `create_tables` off an empty database is refused, and stays empty."""
    with pytest.raises(SchemaMismatch, match="ap4r migrate"):
        put(opened(url, create_tables=False), message())
    assert tables(engine) == {}


def test_a_half_made_database_is_finished(store, engine, kind):
    """Where a migration broke off between two steps, which MySQL does not undo, the next one goes on."""
    store.prepare()
    whole = tables(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM ap4r_version"))
        if kind == "mariadb":
            connection.execute(text("DROP TABLE ap4r_puts"))
            connection.execute(text("DROP INDEX ap4r_dead_lane ON ap4r_dead"))
    store.close()
    store.migrate()
    assert tables(engine) == whole
    one = message()
    put(store, one)
    assert ids(claim(store, dispatcher(store))) == [one.id]


class Left(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def test_a_first_use_that_broke_off_is_finished_by_the_next(server, opened, engine):
    """After an interruption at any point of creating the tables, the next process finishes them by itself."""
    begun = []

    def leave_after(most):
        def count(connection, cursor, statement, *_):
            begun.append(statement)
            if len(begun) > most:
                raise Left

        return count

    def make(most):
        begun.clear()
        url = server.make("own")
        first = opened(url)
        event.listen(first._database.engine(), "before_cursor_execute", leave_after(most))
        try:
            first.prepare()
        except Left:
            pass
        finally:
            first.close()
        return opened(url)

    make(10_000).close()
    whole, count = tables(engine), len(begun)
    assert set(whole) == TABLES and count > 20
    # Each of the last ones: there the versions are noted, and there they change their place.
    for most in [*range(2, count - 12, 6), *range(count - 12, count)]:
        second = make(most)
        one = message()
        put(second, one)
        assert tables(engine) == whole, begun[-1]
        assert ids(claim(second, dispatcher(second))) == [one.id]
        second.close()


def test_many_processes_meet_at_an_empty_database(url, opened, engine, tmp_path):
    """They make the tables once, and no error reaches anybody."""
    with Crowd(tmp_path, 0.5) as crowd:
        for _ in range(3):
            crowd.add("write", 3, [url])
        crowd.go()
        found = crowd.wait(60)
    assert not found.errors, found.errors[:3]
    assert set(tables(engine)) == TABLES


def test_key_columns_are_compared_byte_by_byte(store, engine, kind):
    """No key depends on the server's collation."""
    store.prepare()
    if kind == "postgresql":
        pytest.skip("a deterministic collation compares bytes for equality")
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns"
                " WHERE table_schema = DATABASE() AND column_key <> '' AND collation_name IS NOT NULL"
            )
        ).all()
    assert {(table, collation) for table, _, collation in rows if table != "ap4r_version"} <= {
        ("ap4r_dispatchers", "utf8mb4_bin"),
        ("ap4r_leased", "utf8mb4_bin"),
    }


def test_rights_to_rows_suffice(url, kind, server, opened, processes):
    """If an administrator creates the tables, a user who may only read and write rows can do all else."""
    made = processes.ap4r("migrate", "--store", url)
    assert (made.returncode, made.stderr) == (0, "")
    rights = "SELECT, INSERT, UPDATE, DELETE"
    if kind == "mariadb":
        server.execute(f"GRANT {rights} ON own.* TO 'rows'@'127.0.0.1' IDENTIFIED BY 's3cret'")
    else:
        if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'rows'"):
            server.execute("CREATE ROLE rows LOGIN")
        server.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO rows", "own")
        server.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO rows", "own")
    store = opened(url.replace("ap4r:", "rows:"), create_tables=False)
    one, other = message(), message("queue.b")
    put(store, one, other, now=None)
    owner = dispatcher(store, now=None)
    lease, dead_lease = claim(store, owner, now=None)
    settle(store, (lease, Delivered()), (dead_lease, dead()), now=None)
    assert store.replay([dead_lease.message.id]).replayed == (dead_lease.message.id,)
    store.beat(owner)
    store.prune()
    assert store.look().due and store.rescue("unknown", 1) is not None
    assert store.unregister(owner) == 0
    assert sum(queue.ready for queue in store.status().queues) == 1

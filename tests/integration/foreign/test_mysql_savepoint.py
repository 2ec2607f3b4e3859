"""MariaDB: a savepoint that the application has set before the block is still there after it."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import ap4r
from tests.integration.foreign.subjects import MySQLdb, PyMySQL
from tests.support.sink import MemorySink

BLOCKS = {
    "transaction": lambda handle, conn: handle.transaction(conn),
    "join": lambda handle, conn: handle.join(conn),
    "once": lambda handle, conn: handle.once(conn, key="order-1"),
}


@pytest.fixture
def shop(make_shop):
    """A clean shop on MariaDB."""
    return make_shop("mariadb")


@pytest.fixture
def handle():
    """A handle whose own store is elsewhere."""
    with ap4r.session(MemorySink()) as handle:
        yield handle


def test_the_raw_status_hides_a_lone_savepoint(shop):
    """The server's flag is why none of ours can be looked up: it stays unset until a table is touched."""
    subject = PyMySQL(shop.url)
    subject.run("SAVEPOINT theirs")
    hidden = subject.raw.server_status & 1
    subject.run("RELEASE SAVEPOINT theirs")
    subject.close()
    assert not hidden


@pytest.mark.parametrize("undoes", [False, True], ids=["released", "undone"])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("kind", ["session", "connection"])
def test_of_sqlalchemy(shop, handle, kind, block, undoes):
    """begin(), begin_nested(), and then the block at once: nothing was executed yet."""
    engine = create_engine(shop.url, poolclass=NullPool)
    with Session(engine) if kind == "session" else engine.connect() as conn, conn.begin():
        nested = conn.begin_nested()
        with BLOCKS[block](handle, conn):
            conn.execute(text("INSERT INTO orders VALUES (1)"))
            handle.async_to("/mail")
        assert shop.orders == []
        nested.rollback() if undoes else nested.commit()
        conn.execute(text("INSERT INTO orders VALUES (2)"))
    engine.dispose()
    assert shop.orders == ([2] if undoes else [1, 2])
    assert shop.deliver() == ([] if undoes else ["/mail"])
    assert shop.rows("inbox") == (block == "once" and not undoes)


@pytest.mark.parametrize("driver", [PyMySQL, MySQLdb])
def test_of_a_driver_that_is_joined(shop, handle, driver):
    """join() ends nothing, not even what only a savepoint has begun."""
    subject = driver(shop.url)
    subject.run("SAVEPOINT theirs")
    with handle.join(**subject.given):
        subject.order(1)
        handle.async_to("/undone")
    subject.run("ROLLBACK TO SAVEPOINT theirs")
    with handle.join(**subject.given):
        subject.order(2)
        handle.async_to("/kept")
    subject.run("RELEASE SAVEPOINT theirs")
    subject.commit()
    subject.close()
    assert (shop.orders, shop.deliver()) == ([2], ["/kept"])


@pytest.mark.parametrize("block", ["transaction", "once"])
@pytest.mark.parametrize("driver", [PyMySQL, MySQLdb])
def test_of_a_driver_with_a_row_in_it(shop, handle, driver, block):
    """Once a table was touched the server tells of the transaction, and the block ends nothing."""
    subject = driver(shop.url)
    subject.run("SAVEPOINT theirs")
    subject.order(1)
    with BLOCKS[block](handle, subject.raw):
        subject.order(2)
        handle.async_to("/mail")
    subject.run("ROLLBACK TO SAVEPOINT theirs")
    subject.commit()
    subject.close()
    assert (shop.orders, shop.deliver()) == ([], [])

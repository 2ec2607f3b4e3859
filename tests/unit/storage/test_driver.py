"""Statements in the driver's own words: the transaction is open before them, and their errors are SQLAlchemy's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.pool import StaticPool

from ap4r.storage.databases import driver_calls

BEGIN = "BEGIN IMMEDIATE"


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection whose transaction stands ready."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"isolation_level": None})
    event.listen(engine, "before_cursor_execute", driver_calls.begin_first)
    with engine.connect() as connection:
        driver_calls.run(connection, "CREATE TABLE box (number INTEGER PRIMARY KEY)")
        driver_calls.begin_with_next(connection, BEGIN)
        yield connection
    engine.dispose()


@pytest.fixture
def sent(connection: Connection) -> list[str]:
    """What reaches the database from now on."""
    statements: list[str] = []
    connection.connection.dbapi_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
    return statements


class TestBegin:
    def test_before_the_next_statement(self, connection: Connection, sent: list[str]) -> None:
        """What opens the transaction is sent with the first statement, whatever that is, and once."""
        assert sent == []
        assert driver_calls.rows(connection, "SELECT 1", ()) == [(1,)]
        assert driver_calls.run(connection, "INSERT INTO box VALUES (1)") == 1
        assert [statement for statement in sent if statement == BEGIN] == [BEGIN]
        assert sent[0] == BEGIN

    def test_before_several(self, connection: Connection, sent: list[str]) -> None:
        """One statement for several rows opens it too."""
        driver_calls.run_many(connection, "INSERT INTO box VALUES (?)", [(1,), (2,)])
        assert sent[0] == BEGIN
        assert driver_calls.rows(connection, "SELECT number FROM box ORDER BY 1", ()) == [(1,), (2,)]

    def test_before_what_sqlalchemy_sends(self, connection: Connection, sent: list[str]) -> None:
        """A statement that SQLAlchemy runs itself does not slip out of the transaction."""
        connection.exec_driver_sql("INSERT INTO box VALUES (1)")
        assert sent[0] == BEGIN

    def test_never_twice(self, connection: Connection) -> None:
        """The caller that takes it sends it."""
        assert driver_calls.take_begin(connection) == BEGIN
        assert driver_calls.take_begin(connection) is None


class TestErrors:
    def test_are_sqlalchemys(self, connection: Connection) -> None:
        """The driver's error comes as SQLAlchemy's, with the statement, and the connection stays in use."""
        with pytest.raises(DBAPIError) as caught:
            driver_calls.run(connection, "INSERT INTO nowhere VALUES (1)")
        assert caught.value.statement == "INSERT INTO nowhere VALUES (1)"
        assert "nowhere" in str(caught.value.orig)
        assert not connection.invalidated

    def test_a_lost_connection_is_not_replaced(self, connection: Connection) -> None:
        """After the connection was lost nothing more runs: on another one it would stand outside the transaction."""
        driver_calls.run(connection, "INSERT INTO box VALUES (1)")
        connection.invalidate()
        for call in (driver_calls.take_begin, lambda lost: driver_calls.run(lost, "COMMIT")):
            with pytest.raises(PendingRollbackError):
                call(connection)

    def test_called_off_halfway(self, connection: Connection) -> None:
        """A statement that was left before its answer came takes the connection with it."""

        def leave(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            driver_calls.call_driver(connection, leave, "SELECT 1", ())
        assert connection.invalidated

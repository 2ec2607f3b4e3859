"""Access to one database: checks its tables first, retries rolled back transactions, and translates errors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ap4r.errors import StoreUnavailable, StoreUnusable
from ap4r.storage.access.transaction import Transaction, to_microseconds
from ap4r.storage.databases.database import Database, RolledBack
from ap4r.storage.operations.lanes import Lanes
from ap4r.storage.schema.tables import Schema
from ap4r.storage.schema.version import check_version, found_version, migrate_command, script
from ap4r.storage.store import StoreRules

_Result = TypeVar("_Result")
#: How often a rolled back transaction is retried, and its pause, which begins here and doubles.
_RETRIES, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 20, 0.004, 0.25


class _Prepared(NamedTuple):
    """An engine whose database was checked, and its known lanes."""

    engine: Engine
    lanes: Lanes


class StatementRefused(StoreUnavailable):
    """The database refused one statement, although the store itself works."""


class Access:
    """Access to the tables of one database; subclasses add the operations.

    :ivar retried: the number of transactions that were retried because the database had rolled them back.
    """

    def __init__(self, database: Database, rules: StoreRules, schema: Schema) -> None:
        self._database, self._rules, self._schema = database, rules, schema
        self._prepared: _Prepared | None = None
        self.retried = 0

    @property
    def name(self) -> str:
        """The store's URL in full, without a password."""
        return self._database.name

    def prepare(self) -> None:
        """Create the tables in an empty database (unless `create_tables` is off) and check their version."""
        engine, found = self._translated(self._found_or_made)
        check_version(found, self.name, self._schema.prefix)
        self._prepared = _Prepared(engine, Lanes(self._schema))

    def migrate(self) -> None:
        """Migrate the tables to this code's version, whatever `create_tables` says."""
        self._translated(lambda: self._database.make_tables(self._schema))
        self.prepare()

    def version(self) -> str | None:
        """Return the version of the tables, or None if there are none."""
        return self._translated(self._found)[1]

    def script(self) -> str:
        """Return the SQL that `migrate` would run now; "" when there is nothing to do."""
        return script(self.version(), self._schema, self._database.engine().dialect.name)

    def close(self) -> None:
        """Close every connection. A later call opens new ones."""
        self._database.close()

    def _write(
        self, operation: Callable[[Transaction], _Result], now: float | None, give_up_at: float | None = None
    ) -> _Result:
        until = self._give_up_at() if give_up_at is None else give_up_at

        def write() -> _Result:
            prepared = self._prepared_once()
            with self._database.writing(until - time.monotonic()) as connection:
                transaction = self._transaction(connection, prepared, now)
                result = operation(transaction)
            for learn in transaction.after_commit:
                learn()
            return result

        return self._retrying(write, until)

    def _read(
        self, operation: Callable[[Transaction], _Result], now: float | None, give_up_at: float | None = None
    ) -> _Result:
        until = self._give_up_at() if give_up_at is None else give_up_at

        def read() -> _Result:
            prepared = self._prepared_once()
            with self._database.reading(until - time.monotonic()) as connection:
                return operation(self._transaction(connection, prepared, now))

        return self._retrying(read, until)

    def _retrying(self, call: Callable[[], _Result], give_up_at: float) -> _Result:
        """Make a call, and retry it when the database rolled it back, as long as there is time."""
        retries, pause_seconds = 0, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._translated(call)
            except RolledBack:
                # Transactions that collided must not collide again.
                wait_seconds = random.uniform(0.0, pause_seconds)
                if retries == _RETRIES or time.monotonic() + wait_seconds >= give_up_at:
                    raise
            retries, self.retried = retries + 1, self.retried + 1
            time.sleep(wait_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _transaction(self, connection: Connection, prepared: _Prepared, now: float | None) -> Transaction:
        if connection.engine is not prepared.engine:
            raise RolledBack(self.name, "it was just reopened")
        known_now_at = None if now is None else to_microseconds(now)
        return Transaction(self.name, connection, self._schema, self._database, prepared.lanes, known_now_at)

    def _prepared_once(self) -> _Prepared:
        prepared = self._prepared
        while prepared is None or prepared.engine is not self._database.engine_in_use or prepared.lanes.full:
            self.prepare()
            prepared = self._prepared
        return prepared

    def _found_or_made(self) -> tuple[Engine, str | None]:
        if not self._rules.create_tables and not self._database.is_there():
            command = migrate_command(self.name, self._schema.prefix)
            raise StoreUnusable(self.name, self._database.how_to_make(command))
        engine, found = self._found()
        if found is None and self._rules.create_tables:
            self._database.make_tables(self._schema)
            engine, found = self._found()
        return engine, found

    def _found(self) -> tuple[Engine, str | None]:
        if not self._database.is_there():
            return self._database.engine(), None
        with self._database.reading(self._rules.deadline_seconds) as connection:
            self._database.locate(connection, self._schema)
            return connection.engine, found_version(connection, self._schema)

    def _give_up_at(self) -> float:
        return time.monotonic() + self._rules.deadline_seconds

    def _translated(self, call: Callable[[], _Result]) -> _Result:
        """Make a call; raise the error that the driver's means here."""
        try:
            return call()
        except DBAPIError as error:
            raise self._database.meaning_of(error) or StatementRefused(self.name, str(error.orig)) from error
        except (SQLAlchemyError, OSError) as error:
            # These include the system's own errors, such as no free file descriptor for a socket.
            raise StoreUnavailable(self.name, str(error)) from error

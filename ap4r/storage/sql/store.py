"""The store's contract on a SQL database: each method is one transaction around one operation."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ap4r.errors import StoreUnavailable, StoreUnusable
from ap4r.message import Put
from ap4r.storage.inbox import Stored
from ap4r.storage.sql.claims import Claims
from ap4r.storage.sql.database import Database, RolledBack
from ap4r.storage.sql.dead_letters import DeadLetters
from ap4r.storage.sql.dispatchers import Dispatchers
from ap4r.storage.sql.figures import Figures
from ap4r.storage.sql.group import GroupCommit
from ap4r.storage.sql.inbox import recall
from ap4r.storage.sql.lanes import Lanes
from ap4r.storage.sql.outcomes import Outcomes
from ap4r.storage.sql.pruning import Pruning
from ap4r.storage.sql.puts import Puts
from ap4r.storage.sql.rescues import Rescues
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.settlements import Settlements, SomeLost
from ap4r.storage.sql.transaction import Transaction, to_microseconds
from ap4r.storage.store import (
    Claim,
    DeadLetter,
    Look,
    Replayed,
    Rescued,
    Settled,
    Settlement,
    StoreRules,
    StoreStatus,
)
from ap4r.storage.versions import check_version, found_version, migrate_command, script

_Result = TypeVar("_Result")
_HANDED_BACK_A_TIME = 500
#: Transactions that the database undid are tried so often again, after a pause that begins here and doubles.
_RETRIES, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 20, 0.004, 0.25


class _Prepared(NamedTuple):
    """An engine whose database has been looked at, and what is known of it."""

    engine: Engine
    lanes: Lanes


class _Refused(StoreUnavailable):
    """The database could not take one statement, where the store itself is well."""


class SqlStore:
    """A `Store` over any `Database`. Opens nothing before its first call; a forked process opens anew."""

    def __init__(self, database: Database, rules: StoreRules) -> None:
        self._database, self._rules = database, rules
        schema = self._schema = Schema(rules.table_prefix)
        outcomes, self._dispatchers = Outcomes(schema), Dispatchers(schema)
        self._puts, self._claims = Puts(schema, rules), Claims(schema, self._dispatchers)
        self._settlements = Settlements(schema, outcomes)
        self._rescues = Rescues(schema, self._dispatchers, outcomes, rules.delivery)
        self._dead_letters, self._figures = DeadLetters(schema), Figures(schema)
        self._pruning = Pruning(schema, rules.put_memory_seconds)
        self._group = GroupCommit(database.name, self._write_puts, rules.deadline_seconds)
        self._prepared: _Prepared | None = None
        self.retried = 0  #: transactions that were tried again because the database had undone them

    @property
    def name(self) -> str:
        """The store's URL in full, without a password."""
        return self._database.name

    def prepare(self) -> None:
        """Make the tables in an empty database (unless `create_tables` is off) and check their version."""
        engine, found = self._understood(self._found_or_made)
        check_version(found, self.name, self._schema.prefix)
        self._prepared = _Prepared(engine, Lanes(self._schema))

    def migrate(self) -> None:
        """Bring the tables to this code's version, whatever `create_tables` says."""
        self._understood(lambda: self._database.make_tables(self._schema))
        self.prepare()

    def version(self) -> str | None:
        """Give the version of the tables, or None where there are none."""
        return self._understood(self._found)[1]

    def script(self) -> str:
        """Give the SQL that `migrate` would run now, for a person who runs it; "" when there is nothing to do."""
        return script(self.version(), self._schema, self._database.engine().dialect.name)

    def put(self, put: Put, *, now: float | None = None) -> None:
        """Store all messages of `put` in one transaction, durable on return."""
        if now is None:
            self._group.submit(put)
        else:
            self._write_puts([put], self._rules.deadline_seconds, now)

    def put_together(self, puts: Sequence[Put]) -> list[Exception | None]:
        """Store several puts in one commit where that is possible, each by itself where not."""
        return self._group.submit_together(puts)

    def register(self, owner: str, name: str, version: str, bell: str, *, now: float | None = None) -> None:
        """Make a dispatcher known."""
        self._write(lambda tx: self._dispatchers.register(tx, owner, name, version, bell), now)

    def unregister(self, owner: str, *, now: float | None = None) -> int:
        """Forget a dispatcher; leases it still holds go back uncalled."""
        handed_back, give_up_at = 0, self._give_up_at()
        while True:
            count = self._write(lambda tx: self._rescues.hand_back(tx, owner, _HANDED_BACK_A_TIME), now, give_up_at)
            handed_back += count
            if count < _HANDED_BACK_A_TIME:
                return handed_back

    def beat(self, owner: str, *, now: float | None = None) -> None:
        """Move the dispatcher's counter, in one statement that commits by itself."""
        self._read(lambda tx: self._dispatchers.beat(tx, owner), now)

    def claim(
        self, owner: str, limit: int, *, excluded: Collection[int] = (), beat: bool = True, now: float | None = None
    ) -> Claim:
        """Lease up to `limit` due messages to `owner`."""
        return self._write(lambda tx: self._claims.write(tx, owner, limit, excluded, beat), now)

    def settle(self, settlements: Sequence[Settlement], *, now: float | None = None) -> list[Settled]:
        """Write outcomes down in one transaction; a batch that fails for one of its rows is split."""
        return self._settle(settlements, now, self._give_up_at()) if settlements else []

    def look(self, *, now: float | None = None) -> Look:
        """Glance at what is due and who lives."""
        return self._read(self._dispatchers.look, now)

    def rescue(self, owner: str, beat: int, *, limit: int = 500, now: float | None = None) -> Rescued | None:
        """Take the leases from a dispatcher whose counter still stands at `beat`."""
        return self._write(lambda tx: self._rescues.write(tx, owner, beat, limit), now)

    def lanes(self, ids: Collection[int]) -> dict[int, tuple[str, str]]:
        """Give queue and origin of lanes by id."""
        return self._read(lambda tx: tx.lanes.names_of(tx, ids), None)

    def bells(self, *, now: float | None = None) -> list[str]:
        """Give the doorbell addresses of the dispatchers that were seen in the last minute."""
        return self._read(self._dispatchers.bells, now)

    def dead(self, *, limit: int = 100, after: str | None = None, queue: str | None = None) -> list[DeadLetter]:
        """List dead letters, oldest message id first."""
        return self._read(lambda tx: self._dead_letters.page(tx, limit, after, queue), None)

    def replay(self, ids: Collection[str], *, again: bool = False, now: float | None = None) -> Replayed:
        """Put dead letters back at the front of their lanes."""
        return self._write(lambda tx: self._dead_letters.replay(tx, ids, again), now)

    def status(self, *, now: float | None = None) -> StoreStatus:
        """Give the figures a person asks for."""
        return self._read(self._figures.read, now)

    def recall(self, key: bytes, until: float) -> Stored | None:
        """Give what the inbox has of a received message, and keep it at least `until`; None where it has nothing."""
        return self._read(lambda tx: recall(tx, key, until), None)

    def prune(self, *, limit: int = 500, now: float | None = None) -> int:
        """Forget up to `limit` rows whose time is over."""
        return self._write(lambda tx: self._pruning.write(tx, limit), now)

    def close(self) -> None:
        """Let go of every connection. A later call opens anew."""
        self._database.close()

    def _settle(self, settlements: Sequence[Settlement], now: float | None, give_up_at: float) -> list[Settled]:
        first: list[Settled] = []

        def settle(tx: Transaction, careful: bool = False) -> list[Settled]:
            first[:] = self._settlements.write(tx, settlements, careful=careful)
            return list(first)

        try:
            try:
                return self._write(settle, now, give_up_at)
            except SomeLost:
                return self._write(lambda tx: settle(tx, careful=True), now, give_up_at)
        except _Refused:
            if len(settlements) == 1:
                raise
        except StoreUnavailable as error:
            if not error.outcome_unknown:
                raise
            return self._settle_after_doubt(list(first), settlements, now, give_up_at)
        answers, half = list[Settled](), len(settlements) // 2
        for part in (settlements[:half], settlements[half:]):
            try:
                answers += self._settle(part, now, give_up_at)
            except StoreUnavailable:
                # What the other part has answered must not be lost.
                answers += [Settled.UNKNOWN] * len(part)
        return answers

    def _settle_after_doubt(
        self, first: list[Settled], settlements: Sequence[Settlement], now: float | None, give_up_at: float
    ) -> list[Settled]:
        """Settle again after the answer to a COMMIT was lost: it was done for all of the batch, or for none."""
        again = self._write(lambda tx: self._settlements.write(tx, settlements, careful=True), now, give_up_at)
        return again if Settled.SETTLED in again else first

    def _write_puts(self, puts: Sequence[Put], within_seconds: float, now: float | None = None) -> None:
        give_up_at = time.monotonic() + within_seconds
        try:
            self._write(lambda tx: self._puts.write(tx, puts), now, give_up_at)
        except _Refused:
            # A put or a message is there already. That is seldom, so only now is it looked which.
            self._write(lambda tx: self._puts.write(tx, puts, careful=True), now, give_up_at)

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

    def _read(self, operation: Callable[[Transaction], _Result], now: float | None) -> _Result:
        def read() -> _Result:
            prepared = self._prepared_once()
            with self._database.reading() as connection:
                return operation(self._transaction(connection, prepared, now))

        return self._retrying(read, self._give_up_at())

    def _retrying(self, call: Callable[[], _Result], give_up_at: float) -> _Result:
        """Make a call, and again when the database undid it, for as long as there is time."""
        retries, pause_seconds = 0, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._understood(call)
            except RolledBack:
                # Those who met in one place must not meet there again.
                wait_seconds = random.uniform(0.0, pause_seconds)
                if retries == _RETRIES or time.monotonic() + wait_seconds >= give_up_at:
                    raise
            retries, self.retried = retries + 1, self.retried + 1
            time.sleep(wait_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _transaction(self, connection: Connection, prepared: _Prepared, now: float | None) -> Transaction:
        if connection.engine is not prepared.engine:
            raise RolledBack(self.name, "it was opened anew just now")
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
            raise StoreUnusable(self.name, f"no such file; `{command}` makes it")
        engine, found = self._found()
        if found is None and self._rules.create_tables:
            self._database.make_tables(self._schema)
            engine, found = self._found()
        return engine, found

    def _found(self) -> tuple[Engine, str | None]:
        if not self._database.is_there():
            return self._database.engine(), None
        with self._database.reading() as connection:
            return connection.engine, found_version(connection, self._schema)

    def _give_up_at(self) -> float:
        return time.monotonic() + self._rules.deadline_seconds

    def _understood(self, call: Callable[[], _Result]) -> _Result:
        """Make a call; what the driver raises is raised as what it means here."""
        try:
            return call()
        except DBAPIError as error:
            raise self._database.meaning_of(error) or _Refused(self.name, str(error.orig)) from error
        except SQLAlchemyError as error:
            raise StoreUnavailable(self.name, str(error)) from error

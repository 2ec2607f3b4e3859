"""The store's contract on a SQL database: each method is one transaction around one operation."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from ap4r.errors import StoreUnavailable
from ap4r.message.message import Put
from ap4r.storage.access.group_commit import GroupCommit
from ap4r.storage.access.retrying import Access, StatementRefused
from ap4r.storage.access.transaction import Transaction
from ap4r.storage.databases.database import Database
from ap4r.storage.inbox_record import Stored
from ap4r.storage.operations.claim import Claims, Turns
from ap4r.storage.operations.dead_letters import DeadLetters
from ap4r.storage.operations.dispatchers import Dispatchers
from ap4r.storage.operations.inbox import recall
from ap4r.storage.operations.prune import Pruning
from ap4r.storage.operations.put import Puts
from ap4r.storage.operations.rescue import Rescues
from ap4r.storage.operations.settle import Settlements, SomeLost
from ap4r.storage.operations.status import StatusQueries
from ap4r.storage.operations.transitions import Transitions
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import (
    Claim,
    DeadLetter,
    Held,
    Look,
    Replayed,
    Rescued,
    Settlement,
    SettleResult,
    StoreRules,
    StoreStatus,
)

_PUT_BACK_BATCH = 500


class SqlStore(Access):
    """A `Store` over any `Database`. Nothing is opened before its first call; a forked process opens its own."""

    def __init__(self, database: Database, rules: StoreRules) -> None:
        schema = Schema(rules.table_prefix)
        super().__init__(database, rules, schema)
        outcomes, self._dispatchers = Transitions(schema), Dispatchers(schema)
        self._puts, self._claims = Puts(schema, rules), Claims(schema, self._dispatchers)
        self._settlements = Settlements(schema, outcomes)
        self._rescues = Rescues(schema, self._dispatchers, outcomes, rules.delivery)
        self._dead_letters, self._figures = DeadLetters(schema), StatusQueries(schema)
        self._pruning = Pruning(schema, rules.put_memory_seconds)
        self._group = GroupCommit(database.name, self._write_puts, rules.deadline_seconds)

    def put(self, put: Put, *, now: float | None = None) -> None:
        """Store all messages of `put` in one transaction, durable on return."""
        if now is None:
            self._group.submit(put)
        else:
            self._write_puts([put], self._rules.deadline_seconds, now)

    def put_together(self, puts: Sequence[Put]) -> list[Exception | None]:
        """Store several puts in one commit if possible, else each in its own."""
        return self._group.submit_together(puts)

    def register(self, owner: str, name: str, version: str, bell: str, *, now: float | None = None) -> None:
        """Register a dispatcher."""
        self._write(lambda tx: self._dispatchers.register(tx, owner, name, version, bell), now)

    def unregister(self, owner: str, *, now: float | None = None) -> int:
        """Remove a dispatcher; leases it still holds are put back uncalled."""
        handed_back, give_up_at = 0, self._give_up_at()
        while True:
            count = self._write(lambda tx: self._rescues.hand_back(tx, owner, _PUT_BACK_BATCH), now, give_up_at)
            handed_back += count
            if count < _PUT_BACK_BATCH:
                return handed_back

    def beat(self, owner: str, *, now: float | None = None) -> None:
        """Advance the dispatcher's counter, in one statement that commits by itself."""
        self._read(lambda tx: self._dispatchers.beat(tx, owner), now)

    def report_held(self, owner: str, held: Sequence[Held], *, now: float | None = None) -> None:
        """Record what a dispatcher holds back."""
        self._write(lambda tx: self._dispatchers.report_held(tx, owner, held), now)

    def claim(
        self,
        owner: str,
        limit: int,
        *,
        excluded: Collection[int] = (),
        yielding: Collection[int] = (),
        most_yielding: int | None = None,
        beat: bool = True,
        now: float | None = None,
    ) -> Claim:
        """Lease up to `limit` due messages to `owner`."""
        turns = Turns(frozenset(excluded), frozenset(yielding), limit if most_yielding is None else most_yielding)
        return self._write(lambda tx: self._claims.write(tx, owner, limit, turns, beat), now)

    def settle(self, settlements: Sequence[Settlement], *, now: float | None = None) -> list[SettleResult]:
        """Store outcomes in one transaction; a batch that fails because of one row is split."""
        if not settlements:
            return []
        give_up_at = self._give_up_at()
        answers = self._settle(settlements, now, give_up_at)
        return self._confirm_lost(settlements, answers, give_up_at) if self._database.conflicts_at_commit else answers

    def look(self, *, now: float | None = None) -> Look:
        """Read what is due and which dispatchers live."""
        return self._read(self._dispatchers.look, now)

    def rescue(self, owner: str, beat: int, *, limit: int = 500, now: float | None = None) -> Rescued | None:
        """Rescue the leases of a dispatcher whose counter is still at `beat`."""
        return self._write(lambda tx: self._rescues.write(tx, owner, beat, limit), now)

    def lanes(self, ids: Collection[int]) -> dict[int, tuple[str, str]]:
        """Return queue and origin of lanes by id."""
        return self._read(lambda tx: tx.lanes.names_of(tx, ids), None)

    def local_address(self) -> str:
        """Return this host's IP address on a connection to the store; empty for a file or a socket's path."""
        return self._translated(lambda: self._database.local_address(self._rules.deadline_seconds))

    def bells(self, *, now: float | None = None) -> list[str]:
        """Return the doorbell addresses of the dispatchers that were seen in the last minute."""
        return self._read(self._dispatchers.bells, now)

    def dead(self, *, limit: int = 100, after: str | None = None, queue: str | None = None) -> list[DeadLetter]:
        """List dead letters, oldest message id first."""
        return self._read(lambda tx: self._dead_letters.page(tx, limit, after, queue), None)

    def replay(self, ids: Collection[str], *, again: bool = False, now: float | None = None) -> Replayed:
        """Put dead letters back at the front of their lanes."""
        return self._write(lambda tx: self._dead_letters.replay(tx, ids, again), now)

    def status(self, *, now: float | None = None) -> StoreStatus:
        """Return the store's status."""
        return self._read(self._figures.read, now)

    def recall(self, key: bytes, until: float) -> Stored | None:
        """Return the inbox's record of a received message and keep it at least until `until`; None if there is none."""
        return self._read(lambda tx: recall(tx, key, until), None)

    def prune(self, *, limit: int = 500, now: float | None = None) -> int:
        """Delete up to `limit` expired rows."""
        return self._write(lambda tx: self._pruning.write(tx, limit), now)

    def _settle(self, settlements: Sequence[Settlement], now: float | None, give_up_at: float) -> list[SettleResult]:
        first: list[SettleResult] = []

        def settle(tx: Transaction, careful: bool = False) -> list[SettleResult]:
            first[:] = self._settlements.write(tx, settlements, careful=careful)
            return list(first)

        try:
            try:
                return self._write(settle, now, give_up_at)
            except SomeLost:
                return self._write(lambda tx: settle(tx, careful=True), now, give_up_at)
        except StatementRefused:
            if len(settlements) == 1:
                raise
        except StoreUnavailable as error:
            if not error.outcome_unknown:
                raise
            return self._settle_after_doubt(list(first), settlements, now, give_up_at)
        answers, half = list[SettleResult](), len(settlements) // 2
        for part in (settlements[:half], settlements[half:]):
            try:
                answers += self._settle(part, now, give_up_at)
            except StoreUnavailable:
                # The results of the other part must not be lost.
                answers += [SettleResult.UNKNOWN] * len(part)
        return answers

    def _confirm_lost(
        self, settlements: Sequence[Settlement], answers: list[SettleResult], give_up_at: float
    ) -> list[SettleResult]:
        """Correct LEASE_LOST to UNKNOWN where a cluster's node had only not received the lease yet.

        That happens behind a proxy that sends a claim to one node and its settlement to another.
        """
        lost = [
            one.lease for one, answer in zip(settlements, answers, strict=True) if answer is SettleResult.LEASE_LOST
        ]
        if not lost:
            return answers
        try:
            held = self._read(lambda tx: self._settlements.still_held(tx, lost), None, give_up_at)
        except StatementRefused:  # only MariaDB supports the statement
            return answers
        except StoreUnavailable:
            held = {lease.message.id for lease in lost}
        return [
            SettleResult.UNKNOWN if answer is SettleResult.LEASE_LOST and one.lease.message.id in held else answer
            for one, answer in zip(settlements, answers, strict=True)
        ]

    def _settle_after_doubt(
        self, first: list[SettleResult], settlements: Sequence[Settlement], now: float | None, give_up_at: float
    ) -> list[SettleResult]:
        """Settle again after the answer to a COMMIT was lost: it was done for all of the batch, or for none."""
        again = self._write(lambda tx: self._settlements.write(tx, settlements, careful=True), now, give_up_at)
        return again if SettleResult.SETTLED in again else first

    def _write_puts(self, puts: Sequence[Put], within_seconds: float, now: float | None = None) -> None:
        give_up_at = time.monotonic() + within_seconds
        try:
            self._write(lambda tx: self._puts.write(tx, puts), now, give_up_at)
        except StatementRefused:
            # A put or a message is already there. That is rare, so the look-up is made only now.
            self._write(lambda tx: self._puts.write(tx, puts, careful=True), now, give_up_at)

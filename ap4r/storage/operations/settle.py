"""settle: stores the outcomes of leased messages whose leases the caller still holds."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from ap4r.outcome.outcome import Delivered
from ap4r.storage.access.statements import Among, by_primary_key
from ap4r.storage.access.transaction import Transaction
from ap4r.storage.operations.transitions import Transitions
from ap4r.storage.schema.rows import id_bytes
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import Lease, Settlement, SettleResult


class SomeLost(Exception):
    """Some of several leases are not held any more."""


class Settlements:
    """Settles leases by id and token."""

    def __init__(self, schema: Schema, outcomes: Transitions) -> None:
        leased = self._leased = schema.leased
        self._messages = schema.messages
        # In order, so that two transactions that lock the same rows do not deadlock.
        self._held = Among(
            lambda ids: by_primary_key(
                select(leased).where(leased.c.id.in_(ids)).order_by(leased.c.id).with_for_update(), leased
            )
        )
        self._outcomes = outcomes

    def write(self, tx: Transaction, settlements: Sequence[Settlement], *, careful: bool = False) -> list[SettleResult]:
        """Write the outcomes of those leases that are still held under their tokens.

        :param careful: read first which are held. Used after `SomeLost`, or when some may be settled already.
        :raises SomeLost: not all are held any more, and nothing may be committed.
        """
        if not careful and _are_plain(settlements):
            return self._delivered(tx, settlements)
        return self._looked_up(tx, settlements)

    def _delivered(self, tx: Transaction, settlements: Sequence[Settlement]) -> list[SettleResult]:
        """Settle all as delivered, without reading anything."""
        leases = sorted([(id_bytes(settlement.lease.message.id), settlement.lease.token) for settlement in settlements])
        if tx.delete(self._leased, [{"id": stored_id, "token": token} for stored_id, token in leases]) != len(leases):
            raise SomeLost
        tx.delete(self._messages, [{"id": stored_id} for stored_id, _ in leases])
        return [SettleResult.SETTLED] * len(leases)

    def _looked_up(self, tx: Transaction, settlements: Sequence[Settlement]) -> list[SettleResult]:
        """Lock the leases that are still held under their tokens, and write their outcomes."""
        ids = [id_bytes(settlement.lease.message.id) for settlement in settlements]
        found = {row[0]: row for row in self._held.rows(tx.connection, ids)}
        answers, rows = [], []
        for stored_id, settlement in zip(ids, settlements, strict=True):
            row = found.get(stored_id)
            if row is None or row.token != settlement.lease.token:
                answers.append(SettleResult.LEASE_LOST)
                continue
            del found[stored_id]  # a lease named twice in one batch is settled once
            rows.append((row, settlement.outcome))
            answers.append(SettleResult.SETTLED)
        if rows:
            self._outcomes.write(tx, rows)
        return answers

    def still_held(self, tx: Transaction, leases: Sequence[Lease]) -> set[str]:
        """Return the messages whose leases are held as the whole cluster sees it, not only this node.

        Outside a transaction: the statement waits until this node has applied everything committed before at any node
        (https://mariadb.com/docs/galera-cluster, wsrep_sync_wait).
        """
        by_id = {id_bytes(lease.message.id): lease for lease in leases}
        statement = (
            f"SET STATEMENT wsrep_sync_wait=1 FOR SELECT id, token FROM `{self._leased.name}` "
            f"WHERE id IN ({', '.join(['%s'] * len(by_id))})"
        )
        rows = tx.database.rows(tx.connection, statement, list(by_id))
        held = (by_id[bytes(stored_id)] for stored_id, token in rows if bytes(token) == by_id[bytes(stored_id)].token)
        return {lease.message.id for lease in held}


def _are_plain(settlements: Sequence[Settlement]) -> bool:
    """Return whether all were delivered at their first attempt, so that no attempts are recorded."""
    return all(
        isinstance(settlement.outcome, Delivered) and settlement.lease.attempt == 1 and not settlement.lease.crashes
        for settlement in settlements
    )

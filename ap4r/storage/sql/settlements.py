"""settle: what became of leased messages is written down, for those leases that are still the caller's."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from ap4r.storage.sql.outcomes import Outcomes
from ap4r.storage.sql.plans import by_primary_key
from ap4r.storage.sql.rows import id_bytes
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import Transaction
from ap4r.storage.store import Settled, Settlement

_IDS_A_QUERY = 500


class Settlements:
    """Settles leases by id and token."""

    def __init__(self, schema: Schema, outcomes: Outcomes) -> None:
        leased = schema.leased
        # In order, so that two that lock the same rows do not wait for each other.
        held = select(leased).where(leased.c.id.in_(bindparam("ids", expanding=True))).order_by(leased.c.id)
        self._held = by_primary_key(held.with_for_update(), leased)
        self._outcomes = outcomes

    def write(self, tx: Transaction, settlements: Sequence[Settlement]) -> list[Settled]:
        """Lock the leases that are still held under their tokens, and write their outcomes."""
        ids = [id_bytes(settlement.lease.message.id) for settlement in settlements]
        found = {}
        for start in range(0, len(ids), _IDS_A_QUERY):
            some = {"ids": ids[start : start + _IDS_A_QUERY]}
            found.update({row.id: row for row in tx.connection.execute(self._held, some).all()})
        answers, rows = [], []
        for stored_id, settlement in zip(ids, settlements, strict=True):
            row = found.get(stored_id)
            if row is None or row.token != settlement.lease.token:
                answers.append(Settled.LEASE_LOST)
                continue
            del found[stored_id]  # a lease named twice in one batch is settled once
            rows.append((row, settlement.outcome))
            answers.append(Settled.SETTLED)
        if rows:
            self._outcomes.write(tx, rows)
        return answers

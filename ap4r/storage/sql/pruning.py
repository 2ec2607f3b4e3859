"""prune: forget what is over, a bounded number of rows at a time."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from ap4r.storage.sql.lanes import unused_lanes
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import MICROSECONDS, Transaction, to_microseconds

#: A dispatcher that was killed leaves its row behind when it held nothing that anybody had to rescue.
_DISPATCHER_AGE = 3_600 * MICROSECONDS
_LANES_A_TIME = 50


class Pruning:
    """Deletes what nobody will ask for again."""

    def __init__(self, schema: Schema, put_memory_seconds: float) -> None:
        self._put_memory = to_microseconds(put_memory_seconds)
        puts, dispatchers, leased, inbox = schema.puts, schema.dispatchers, schema.leased, schema.inbox
        self._old_puts = (
            select(puts.c.id)
            .where(puts.c.stored_at < bindparam("before"))
            .order_by(puts.c.stored_at)
            .limit(bindparam("most"))
        )
        self._old_records = (
            select(inbox.c.id)
            .where(inbox.c.expires_at < bindparam("now"))
            .order_by(inbox.c.expires_at)
            .limit(bindparam("most"))
        )
        self._puts, self._dispatchers, self._inbox = puts, dispatchers, inbox
        holds = select(1).where(leased.c.owner == dispatchers.c.owner).exists()
        self._silent = (
            select(dispatchers.c.owner)
            .where(dispatchers.c.seen_at < bindparam("before"), ~holds)
            .limit(bindparam("most"))
        )

    def write(self, tx: Transaction, limit: int) -> int:
        """Delete up to `limit` rows (put ids, records of the inbox, unused lanes, old dispatchers); give how many."""
        old = tx.connection.execute(self._old_puts, {"before": tx.now_at - self._put_memory, "most": limit}).scalars()
        puts = [{"id": put} for put in old]
        tx.delete(self._puts, puts)
        left = limit - len(puts)
        expired = tx.connection.execute(self._old_records, {"now": tx.now_at, "most": left}).scalars()
        records = [{"id": record} for record in expired]
        tx.delete(self._inbox, records)
        left -= len(records)
        lanes = unused_lanes(tx, min(left, _LANES_A_TIME))
        if lanes:
            tx.lanes.remove(tx, lanes)
        owners = list(
            tx.connection.execute(
                self._silent,
                {"before": tx.now_at - _DISPATCHER_AGE, "most": left - len(lanes)},
            ).scalars()
        )
        tx.delete(self._dispatchers, [{"owner": owner} for owner in owners])
        return len(puts) + len(records) + len(lanes) + len(owners)

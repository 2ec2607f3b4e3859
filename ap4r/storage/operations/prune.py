"""prune: deletes expired rows, a bounded number at a time."""

from __future__ import annotations

from sqlalchemy import bindparam, literal, select

from ap4r.storage.access.transaction import MICROSECONDS, Transaction, to_microseconds
from ap4r.storage.operations.lanes import UNUSED_AFTER
from ap4r.storage.schema.tables import Schema

#: A dispatcher that was killed leaves its row behind if it held no lease that had to be rescued.
_DISPATCHER_AGE = 3_600 * MICROSECONDS
_LANES_A_TIME = 50


class Pruning:
    """Deletes rows that are not needed any more."""

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
            # Locked, so that they are still expired when they are deleted; rows that an application has locked are
            # skipped.
            .with_for_update(skip_locked=True)
        )
        self._puts, self._dispatchers, self._inbox = puts, dispatchers, inbox
        holds = select(1).where(leased.c.owner == dispatchers.c.owner).exists()
        self._silent = (
            select(dispatchers.c.owner)
            .where(dispatchers.c.seen_at < bindparam("before"), ~holds)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True, of=dispatchers)
        )

    def write(self, tx: Transaction, limit: int) -> int:
        """Delete up to `limit` rows (put ids, inbox records, unused lanes, old dispatchers); return how many."""
        old = tx.connection.execute(self._old_puts, {"before": tx.now_at - self._put_memory, "most": limit}).scalars()
        puts = [{"id": put} for put in old]
        tx.delete(self._puts, puts)
        left = limit - len(puts)
        expired = tx.connection.execute(self._old_records, {"now": tx.now_at, "most": left}).scalars()
        records = [{"id": record} for record in expired]
        tx.delete(self._inbox, records)
        left -= len(records)
        tx.lanes.mark_taken(tx)
        lanes = _unused_lanes(tx, min(left, _LANES_A_TIME))
        if lanes:
            tx.lanes.remove(tx, lanes)
        left -= len(lanes)
        before = tx.now_at - _DISPATCHER_AGE
        silent = tx.connection.execute(self._silent, {"before": before, "most": left}).scalars()
        owners = [{"owner": owner} for owner in silent]
        tx.delete(self._dispatchers, owners)
        return limit - left + len(owners)


def _unused_lanes(tx: Transaction, limit: int) -> list[int]:
    """Find and lock up to `limit` lanes that were not used for a week and hold no message."""
    schema, lanes = tx.schema, tx.schema.lanes
    empty = select(lanes.c.id).where(lanes.c.used_at < bindparam("before"))
    for table in (schema.ready, schema.scheduled, schema.leased, schema.dead):
        # Not NOT EXISTS: MySQL would read the whole table at once instead of searching for one row.
        something = select(literal(1)).where(table.c.lane == lanes.c.id).limit(1).scalar_subquery()
        empty = empty.where(something.is_(None))
    # A transaction that begins to use one of them waits and then finds it deleted; one in use is skipped.
    locking = empty.limit(limit).with_for_update(skip_locked=True, of=lanes)
    values = {"before": tx.now_at - UNUSED_AFTER}
    locked = list(tx.connection.execute(locking, values).scalars())
    if not locked:
        return []
    # That statement may have seen a lane as empty before it had the lock, while a message was committed. No
    # transaction can begin to use them any more, so a lane that is empty now stays so.
    return list(tx.connection.execute(empty.where(lanes.c.id.in_(locked)), values).scalars())

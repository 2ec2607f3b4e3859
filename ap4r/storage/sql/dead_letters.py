"""Dead letters: list them, and put them back."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import bindparam, select

from ap4r.message import Delivery
from ap4r.outcome import Reason
from ap4r.storage.sql.rows import front_position, id_bytes, id_text, message_of
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import Transaction, to_seconds
from ap4r.storage.store import DeadLetter, Replayed

_IDS_A_QUERY = 500


class DeadLetters:
    """What was given up and is kept for a person."""

    def __init__(self, schema: Schema) -> None:
        dead, messages = schema.dead, schema.messages
        self._dead, self._messages, self._lanes = dead, messages, schema.lanes
        self._ready = schema.ready
        self._renew = (
            messages.update()
            .where(messages.c.id == bindparam("b_id"))
            .values(first_due_at=bindparam("b_due_at"), expires_at=None)
        )

    def page(self, tx: Transaction, limit: int, after: str | None, queue: str | None) -> list[DeadLetter]:
        """Give up to `limit` dead letters behind the id `after`, of one queue or of all."""
        dead, messages, lanes = self._dead, self._messages, self._lanes
        statement = (
            select(messages, dead, lanes.c.queue)
            .join(messages, messages.c.id == dead.c.id)
            .join(lanes, lanes.c.id == dead.c.lane)
            .order_by(dead.c.id)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(dead.c.id > id_bytes(after))
        if queue is not None:
            statement = statement.where(lanes.c.queue == queue)
        return [
            DeadLetter(
                message=message_of(row, row["queue"]),
                reason=Reason(row["reason"]),
                status=row["status"],
                detail=row["detail"].decode("utf-8", "replace"),
                attempt=row["attempt"],
                failures=row["failures"],
                called=row["called"],
                died_at=to_seconds(row["died_at"]),
                stored_at=to_seconds(row["stored_at"]),
            )
            for row in tx.connection.execute(statement).mappings()
        ]

    def replay(self, tx: Transaction, ids: Collection[str], again: bool) -> Replayed:
        """Put dead letters back to the front of their lanes, with no failures and a new age.

        What expired is called all the same: a person wants it now.
        """
        wanted = {id_bytes(text): text for text in ids}
        keys = list(wanted)
        replayed, refused = [], []
        found: set[bytes] = set()
        for start in range(0, len(keys), _IDS_A_QUERY):
            some = keys[start : start + _IDS_A_QUERY]
            statement = (
                select(self._dead, self._messages.c.delivery)
                .join(self._messages, self._messages.c.id == self._dead.c.id)
                .where(self._dead.c.id.in_(some))
                .with_for_update(of=self._dead)
            )
            rows = tx.connection.execute(statement).all()
            found.update(row.id for row in rows)
            may = [row for row in rows if again or row.delivery != Delivery.ONCE.value or not row.called]
            refused += [id_text(row.id) for row in rows if row not in may]
            replayed += [id_text(row.id) for row in may]
            if may:
                tx.delete(self._dead, [{"id": row.id} for row in may])
                tx.connection.execute(self._renew, [{"b_id": row.id, "b_due_at": tx.now_at} for row in may])
                tx.insert(
                    self._ready,
                    [
                        {
                            "id": row.id,
                            "lane": row.lane,
                            "position": front_position(tx.now_at),
                            "attempt": row.attempt,
                            "failures": 0,
                            "crashes": 0,
                        }
                        for row in may
                    ],
                )
        missing = tuple(text for key, text in wanted.items() if key not in found)
        return Replayed(tuple(replayed), tuple(refused), missing)

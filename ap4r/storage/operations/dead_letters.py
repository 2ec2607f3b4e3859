"""Dead letters: lists and replays them."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, select, union_all

from ap4r.message.message import Delivery, Message
from ap4r.outcome.outcome import Reason
from ap4r.storage.access.statements import by_primary_key
from ap4r.storage.access.transaction import Transaction, to_seconds
from ap4r.storage.schema.rows import front_position, id_bytes, id_text, message_of
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import DeadLetter, Replayed

_IDS_A_QUERY = 500
_LANES_A_QUERY = 100
_ALL_BEFORE = b""  #: before every id


class DeadLetters:
    """The messages that were given up and are kept for review."""

    def __init__(self, schema: Schema) -> None:
        dead, messages, lanes = schema.dead, schema.messages, schema.lanes
        self._dead, self._messages, self._ready = dead, messages, schema.ready
        self._renew = (
            messages.update()
            .where(messages.c.id == bindparam("b_id"))
            .values(first_due_at=bindparam("b_due_at"), expires_at=None)
        )
        self._lanes_of_queue = select(lanes.c.id).where(lanes.c.queue == bindparam("queue"))
        behind = select(dead).where(dead.c.id > bindparam("after")).order_by(dead.c.id).limit(bindparam("most"))
        self._page = by_primary_key(behind, dead)
        named: BindParameter[Any] = bindparam("ids", expanding=True)
        self._by_id = by_primary_key(select(dead).where(dead.c.id.in_(named)).order_by(dead.c.id), dead)
        self._wanted = by_primary_key(select(messages).where(messages.c.id.in_(named)), messages)
        deliveries = select(messages.c.id, messages.c.delivery).where(messages.c.id.in_(named))
        self._deliveries = by_primary_key(deliveries, messages)

    def page(self, tx: Transaction, limit: int, after: str | None, queue: str | None) -> list[DeadLetter]:
        """Return up to `limit` dead letters after the id `after`, of one queue or of all."""
        begin = _ALL_BEFORE if after is None else id_bytes(after)
        while True:
            rows = self._rows(tx, limit, begin, queue)
            letters = self._letters_of(tx, rows)
            # A page that has only rows without messages is not the end.
            if letters or len(rows) < limit:
                return letters
            begin = rows[-1].id

    def _rows(self, tx: Transaction, limit: int, begin: bytes, queue: str | None) -> list[Row[Any]]:
        if queue is None:
            rows = list(tx.connection.execute(self._page, {"after": begin, "most": limit}))
        else:
            rows = []
            ids = self._ids_of_queue(tx, limit, begin, queue)
            for start in range(0, len(ids), _IDS_A_QUERY):
                rows += tx.connection.execute(self._by_id, {"ids": ids[start : start + _IDS_A_QUERY]})
        return rows

    def _letters_of(self, tx: Transaction, rows: list[Row[Any]]) -> list[DeadLetter]:
        names = tx.lanes.names_of(tx, {row.lane for row in rows})
        letters: list[DeadLetter] = []
        for start in range(0, len(rows), _IDS_A_QUERY):
            letters += self._letters(tx, rows[start : start + _IDS_A_QUERY], names)
        return letters

    def _ids_of_queue(self, tx: Transaction, limit: int, begin: bytes, queue: str) -> list[bytes]:
        """Return the first ids of a queue, merged from each of its lanes, which an index holds in order."""
        lanes = list(tx.connection.execute(self._lanes_of_queue, {"queue": queue}).scalars())
        ids: list[bytes] = []
        dead = self._dead
        for start in range(0, len(lanes), _LANES_A_QUERY):
            parts = [
                select(dead.c.id)
                .where(dead.c.lane == lane, dead.c.id > begin)
                .order_by(dead.c.lane, dead.c.id)
                .limit(limit)
                .subquery()
                for lane in lanes[start : start + _LANES_A_QUERY]
            ]
            found = tx.connection.execute(union_all(*(select(part.c.id) for part in parts))).scalars()
            ids = heapq.nsmallest(limit, [*ids, *found])
        return ids

    def _letters(self, tx: Transaction, rows: list[Row[Any]], names: dict[int, tuple[str, str]]) -> list[DeadLetter]:
        # Not a join: with outdated statistics MySQL would begin at the messages.
        found = tx.connection.execute(self._wanted, {"ids": [row.id for row in rows]}).all()
        messages = {message.id: message for message in found}
        return [
            DeadLetter(
                message=_message(messages[row.id], names[row.lane][0]),
                reason=Reason(row.reason),
                status=row.status,
                detail=row.detail.decode("utf-8", "replace"),
                attempt=row.attempt,
                failures=row.failures,
                called=row.called,
                died_at=to_seconds(row.died_at),
                stored_at=to_seconds(messages[row.id].stored_at),
            )
            for row in rows
            # A letter may have been replayed and delivered since it was listed; reads are not one transaction.
            if row.id in messages and row.lane in names
        ]

    def replay(self, tx: Transaction, ids: Collection[str], again: bool) -> Replayed:
        """Put dead letters back at the front of their lanes, with no failures and a new age.

        Expired messages are called too, because a person requested it.
        """
        wanted = {id_bytes(text): text for text in ids}
        keys = list(wanted)
        replayed, refused = [], []
        found: set[bytes] = set()
        for start in range(0, len(keys), _IDS_A_QUERY):
            some = keys[start : start + _IDS_A_QUERY]
            rows = tx.connection.execute(self._by_id.with_for_update(), {"ids": some}).all()
            found.update(row.id for row in rows)
            once = self._once(tx, [row.id for row in rows if row.called and not again])
            may = [row for row in rows if row.id not in once]
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

    def _once(self, tx: Transaction, ids: list[bytes]) -> set[bytes]:
        """Return those of some messages that may be called only once."""
        found = tx.connection.execute(self._deliveries, {"ids": ids}) if ids else ()
        return {row.id for row in found if row.delivery == Delivery.ONCE.value}


def _message(row: Row[Any], queue: str) -> Message:
    return message_of(
        row.id, queue, row.target, row.method, row.headers, row.body, row.protocol, row.delivery,
        row.max_deliveries, row.timeout_seconds, row.trace_id,
    )  # fmt: skip

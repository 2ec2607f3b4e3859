"""put: messages enter, all of them or none, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from ap4r.message import Message, Put
from ap4r.storage.sql.plans import by_primary_key
from ap4r.storage.sql.rows import id_bytes, message_row
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import Transaction

_IDS_A_QUERY = 500


class Puts:
    """Writes puts, several in one transaction where several came together."""

    def __init__(self, schema: Schema) -> None:
        self._insert_messages = schema.messages.insert()
        self._puts, self._ready, self._scheduled = schema.puts, schema.ready, schema.scheduled

    def write(self, tx: Transaction, puts: Sequence[Put], *, careful: bool = False) -> None:
        """Store the messages of every put that is not remembered.

        :param careful: also look whether a message's id is stored already or comes twice, after a first try met one.
        """
        fresh = self._remember(tx, puts)
        messages = [message for put in fresh for message in put.messages]
        if careful:
            stored = _existing(tx, tx.schema.messages, [id_bytes(message.id) for message in messages])
            first: dict[bytes, Message] = {}
            for message in messages:
                first.setdefault(id_bytes(message.id), message)
            messages = [message for stored_id, message in first.items() if stored_id not in stored]
        if not messages:
            return
        lanes = tx.lanes.ids_of(tx, (message.lane for message in messages))
        rows = [message_row(message, tx.now_at) for message in messages]
        tx.connection.execute(self._insert_messages, rows)
        ready, scheduled = [], []
        for message, row in zip(messages, rows, strict=True):
            state = {"id": row["id"], "lane": lanes[message.lane], "attempt": 0, "failures": 0, "crashes": 0}
            if row["first_due_at"] <= tx.now_at:
                ready.append({**state, "position": tx.now_at})
            else:
                scheduled.append({**state, "due_at": row["first_due_at"]})
        tx.insert(self._ready, ready)
        tx.insert(self._scheduled, scheduled)

    def _remember(self, tx: Transaction, puts: Sequence[Put]) -> list[Put]:
        by_id = {id_bytes(put.id): put for put in puts}
        known = _existing(tx, tx.schema.puts, list(by_id))
        fresh = [put for stored_id, put in by_id.items() if stored_id not in known]
        tx.insert(self._puts, [{"id": id_bytes(put.id), "stored_at": tx.now_at} for put in fresh])
        return fresh


def _existing(tx: Transaction, table: Any, ids: list[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for start in range(0, len(ids), _IDS_A_QUERY):
        some = ids[start : start + _IDS_A_QUERY]
        condition = table.c.id == some[0] if len(some) == 1 else table.c.id.in_(some)
        found.update(tx.connection.execute(by_primary_key(select(table.c.id).where(condition), table)).scalars())
    return found

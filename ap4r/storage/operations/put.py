"""put: stores messages, all of them or none, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, bindparam, select

from ap4r.errors import MessageConflict
from ap4r.message.message import Message, Put
from ap4r.storage.access.statements import Compiled, by_primary_key
from ap4r.storage.access.transaction import Transaction, to_microseconds
from ap4r.storage.schema.rows import id_bytes, message_row
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import StoreRules

_IDS_A_QUERY = 500


class Puts:
    """Writes puts, several in one transaction if several came together."""

    def __init__(self, schema: Schema, rules: StoreRules) -> None:
        # A row dated so far ahead is pruned later by the same time.
        self._ahead = to_microseconds(rules.intake_memory_seconds - rules.put_memory_seconds)
        self._insert_messages = Compiled(schema.messages.insert())
        self._insert_put, self._insert_ready = Compiled(schema.puts.insert()), Compiled(schema.ready.insert())
        self._known, self._messages = _Ids(schema.puts), _Ids(schema.messages)
        self._puts, self._ready, self._scheduled = schema.puts, schema.ready, schema.scheduled

    def write(self, tx: Transaction, puts: Sequence[Put], *, careful: bool = False) -> None:
        """Store the messages of every put, as if none had come before: the key of a repeated one is refused.

        :param careful: read first what is remembered or stored already, and skip it. Used after a refusal.
        :raises DBAPIError: the database's, also for a key that exists already.
        :raises MessageConflict: with `careful`: a message of a put with `each` was repeated with other content.
        """
        now_at = tx.now_at
        if not careful and len(puts) == 1 and self._write_one(tx, now_at, puts[0]):
            return
        remembered, messages = self._new_rows(now_at, puts, self._known_of(tx, puts) if careful else set())
        tx.insert(self._puts, remembered)
        if careful:
            messages = self._not_stored(tx, messages)
        if not messages:
            return
        lanes = tx.lanes.ids_of(tx, [message.lane for message in messages])
        rows = [message_row(message, now_at) for message in messages]
        tx.run_many(self._insert_messages, rows)
        ready, scheduled = [], []
        for message, row in zip(messages, rows, strict=True):
            state = _new(row["id"], lanes[message.lane])
            due_at = row["first_due_at"]
            if due_at <= now_at:
                state["position"] = now_at
                ready.append(state)
            else:
                state["due_at"] = due_at
                scheduled.append(state)
        tx.insert(self._ready, ready)
        tx.insert(self._scheduled, scheduled)

    def _write_one(self, tx: Transaction, now_at: int, put: Put) -> bool:
        """Store a put of one due message, the usual case, in fewer steps; return whether it is one."""
        if put.each or len(put.messages) != 1:
            return False
        [message] = put.messages
        row = message_row(message, now_at)
        if row["first_due_at"] > now_at:
            return False
        state = _new(row["id"], tx.lanes.id_of(tx, message.lane))
        state["position"] = now_at
        # A message by itself has lent the put its own id.
        put_id = row["id"] if put.id == message.id else id_bytes(put.id)
        remembered = {"id": put_id, "stored_at": now_at}
        tx.run_each((self._insert_put, remembered), (self._insert_messages, row), (self._insert_ready, state))
        return True

    def _new_rows(
        self, now_at: int, puts: Sequence[Put], known: set[bytes]
    ) -> tuple[list[dict[str, Any]], list[Message]]:
        """Return the rows to remember the puts by, and the messages of those that are not among the known."""
        remembered: list[dict[str, Any]] = []
        messages: list[Message] = []
        later = now_at + self._ahead
        for put in puts:
            if not put.each:
                put_id = id_bytes(put.id)
                if put_id not in known:
                    known.add(put_id)
                    remembered.append({"id": put_id, "stored_at": now_at})
                    messages += put.messages
                continue
            for message in put.messages:
                # The fingerprint is remembered with the id, so that a repeat is distinguished from another message.
                message_id, fingerprint = id_bytes(message.id), message.fingerprint
                if message_id not in known:
                    known |= {message_id, fingerprint}
                    remembered += ({"id": message_id, "stored_at": later}, {"id": fingerprint, "stored_at": later})
                    messages.append(message)
                elif fingerprint not in known:
                    raise MessageConflict(message.id)
        return remembered, messages

    def _known_of(self, tx: Transaction, puts: Sequence[Put]) -> set[bytes]:
        """Return what is remembered of the puts: their ids, and the fingerprints of repeated messages."""
        ids = [id_bytes(put.id) for put in puts if not put.each]
        each = [(id_bytes(message.id), message) for put in puts if put.each for message in put.messages]
        known = self._known.among(tx, [*ids, *(message_id for message_id, _ in each)])
        again = [message.fingerprint for message_id, message in each if message_id in known]
        return known | self._known.among(tx, again)

    def _not_stored(self, tx: Transaction, messages: Sequence[Message]) -> list[Message]:
        """Return the messages without those that are stored already, under a forgotten put, or occur twice."""
        by_id: dict[bytes, Message] = {}
        for message in messages:
            by_id.setdefault(id_bytes(message.id), message)
        stored = self._messages.among(tx, list(by_id))
        return [message for stored_id, message in by_id.items() if stored_id not in stored]


def _new(stored_id: bytes, lane: int) -> dict[str, Any]:
    """Return the state of a new message."""
    return {"id": stored_id, "lane": lane, "attempt": 0, "failures": 0, "crashes": 0}


class _Ids:
    """The ids in a table."""

    def __init__(self, table: Table) -> None:
        ids = by_primary_key(select(table.c.id), table)
        self._one = Compiled(ids.where(table.c.id == bindparam("one")))
        self._some = ids.where(table.c.id.in_(bindparam("some", expanding=True)))

    def among(self, tx: Transaction, ids: Sequence[bytes]) -> set[bytes]:
        """Return those of `ids` that exist."""
        if len(ids) == 1:
            return set(self._one.execute(tx.connection, {"one": ids[0]}).scalars())
        found: set[bytes] = set()
        for start in range(0, len(ids), _IDS_A_QUERY):
            found.update(tx.connection.execute(self._some, {"some": ids[start : start + _IDS_A_QUERY]}).scalars())
        return found

"""put: messages enter, all of them or none, once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table, bindparam, select

from ap4r.errors import MessageConflict
from ap4r.message import Message, Put
from ap4r.storage.sql.compiled import Compiled
from ap4r.storage.sql.plans import by_primary_key
from ap4r.storage.sql.rows import id_bytes, message_row
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import Transaction, to_microseconds
from ap4r.storage.store import StoreRules

_IDS_A_QUERY = 500


class Puts:
    """Writes puts, several in one transaction where several came together."""

    def __init__(self, schema: Schema, rules: StoreRules) -> None:
        # What is dated so much ahead is pruned so much later.
        self._ahead = to_microseconds(rules.intake_memory_seconds - rules.put_memory_seconds)
        self._insert_messages = Compiled(schema.messages.insert())
        self._known, self._messages = _Ids(schema.puts), _Ids(schema.messages)
        self._puts, self._ready, self._scheduled = schema.puts, schema.ready, schema.scheduled

    def write(self, tx: Transaction, puts: Sequence[Put], *, careful: bool = False, first: bool = False) -> None:
        """Store the messages of every put that is not remembered.

        :param first: these puts are written for the first time, so nothing has to be looked up.
        :param careful: also look whether a message's id is stored already or comes twice, after a first try met one.
        """
        messages = self._fresh(tx, puts, first)
        if careful:
            stored = self._messages.among(tx, [id_bytes(message.id) for message in messages])
            by_id: dict[bytes, Message] = {}
            for message in messages:
                by_id.setdefault(id_bytes(message.id), message)
            messages = [message for stored_id, message in by_id.items() if stored_id not in stored]
        if not messages:
            return
        lanes = tx.lanes.ids_of(tx, (message.lane for message in messages))
        rows = [message_row(message, tx.now_at) for message in messages]
        self._insert_messages.execute_many(tx.connection, rows)
        ready, scheduled = [], []
        for message, row in zip(messages, rows, strict=True):
            state = {"id": row["id"], "lane": lanes[message.lane], "attempt": 0, "failures": 0, "crashes": 0}
            if row["first_due_at"] <= tx.now_at:
                ready.append({**state, "position": tx.now_at})
            else:
                scheduled.append({**state, "due_at": row["first_due_at"]})
        tx.insert(self._ready, ready)
        tx.insert(self._scheduled, scheduled)

    def _fresh(self, tx: Transaction, puts: Sequence[Put], first: bool) -> list[Message]:
        """Give the messages that did not come before, and remember that they came.

        :raises MessageConflict: one of a put with `each` came before with other content.
        """
        by_id = {id_bytes(put.id): put for put in puts if not put.each}
        each = [(id_bytes(message.id), message) for put in puts if put.each for message in put.messages]
        known: set[bytes] = set()
        if not first:
            known = self._known.among(tx, [*by_id, *(message_id for message_id, _ in each)])
        told = [(message_id, message, message.fingerprint) for message_id, message in each]
        # Beside the id its fingerprint is remembered, so that a repeat is told from another message.
        asked = [fingerprint for message_id, _, fingerprint in told if message_id in known]
        known |= self._known.among(tx, asked)
        new: list[tuple[bytes, int]] = []
        messages: list[Message] = []
        for put_id, put in by_id.items():
            if put_id not in known:
                new.append((put_id, tx.now_at))
                messages += put.messages
        for message_id, message, fingerprint in told:
            if message_id not in known:
                new += [(message_id, tx.now_at + self._ahead), (fingerprint, tx.now_at + self._ahead)]
                messages.append(message)
                known |= {message_id, fingerprint}
            elif fingerprint not in known:
                raise MessageConflict(message.id)
        tx.insert(self._puts, [{"id": remembered, "stored_at": at} for remembered, at in new])
        return messages


class _Ids:
    """The ids in a table."""

    def __init__(self, table: Table) -> None:
        ids = by_primary_key(select(table.c.id), table)
        self._one = Compiled(ids.where(table.c.id == bindparam("one")))
        self._some = ids.where(table.c.id.in_(bindparam("some", expanding=True)))

    def among(self, tx: Transaction, ids: Sequence[bytes]) -> set[bytes]:
        """Give those of `ids` that are there."""
        if len(ids) == 1:
            return set(self._one.execute(tx.connection, {"one": ids[0]}).scalars())
        found: set[bytes] = set()
        for start in range(0, len(ids), _IDS_A_QUERY):
            found.update(tx.connection.execute(self._some, {"some": ids[start : start + _IDS_A_QUERY]}).scalars())
        return found

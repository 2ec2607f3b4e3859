"""rescue: the leases of a dispatcher that died, or that leaves, become claimable again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, select

from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, DeliveryRules, Dropped, History, Outcome, PutBack
from ap4r.outcome.retry_policy import after_crash
from ap4r.storage.access.statements import Among, by_index, by_primary_key
from ap4r.storage.access.transaction import Transaction, to_seconds
from ap4r.storage.operations.dispatchers import Dispatchers
from ap4r.storage.operations.missing_messages import MissingMessages
from ap4r.storage.operations.transitions import Transitions
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import Rescued


class Rescues:
    """Rescues leases from their owner."""

    def __init__(self, schema: Schema, dispatchers: Dispatchers, outcomes: Transitions, rules: DeliveryRules) -> None:
        self._dispatchers = dispatchers
        self._outcomes = outcomes
        self._rules = rules
        leased, messages = schema.leased, schema.messages
        held = select(leased).where(leased.c.owner == bindparam("of")).limit(bindparam("most")).with_for_update()
        self._held = by_index(held, leased, f"{schema.prefix}leased_owner")
        content = [messages.c.delivery, messages.c.max_deliveries, messages.c.first_due_at]
        wanted = select(messages.c.id, *content)
        self._wanted = Among(lambda ids: by_primary_key(wanted.where(messages.c.id.in_(ids)), messages))
        self._orphans = MissingMessages(messages, content)

    def write(self, tx: Transaction, owner: str, beat: int, limit: int) -> Rescued | None:
        """Rescue up to `limit` leases of an owner whose counter is still at `beat`; return None when it lives.

        The owner is removed first, so that it can neither beat nor claim any more.
        """
        if not self._dispatchers.stands_at(tx, owner, beat):
            return None
        self._dispatchers.leave(tx, owner)
        held = self._rows(tx, owner, limit)
        messages = self._messages_of(tx, [row.id for row in held])
        rows = [(row, self._after_crash(tx, row, messages[row.id])) for row in held if row.id in messages]
        if rows:
            self._outcomes.write(tx, rows, crashed=True)
        outcomes = [outcome for _, outcome in rows]
        dead = sum(isinstance(outcome, Dead) for outcome in outcomes)
        dropped = sum(isinstance(outcome, Dropped) for outcome in outcomes)
        return Rescued(freed=len(outcomes) - dead - dropped, dead=dead, dropped=dropped)

    def hand_back(self, tx: Transaction, owner: str, limit: int) -> int:
        """Remove an owner that leaves, and put up to `limit` of its leases back uncalled."""
        self._dispatchers.leave(tx, owner)
        rows: list[tuple[Row[Any], Outcome]] = [(row, PutBack()) for row in self._rows(tx, owner, limit)]
        if rows:
            self._outcomes.write(tx, rows)
        return len(rows)

    def _rows(self, tx: Transaction, owner: str, limit: int) -> list[Row[Any]]:
        return list(tx.connection.execute(self._held, {"of": owner, "most": limit}))

    def _messages_of(self, tx: Transaction, ids: list[bytes]) -> dict[bytes, Row[Any]]:
        found = {message.id: message for message in self._wanted.rows(tx.connection, ids)}
        unseen = [stored_id for stored_id in ids if stored_id not in found]
        return found | {message.id: message for message in self._orphans.find_or_remove(tx, unseen)}

    def _after_crash(self, tx: Transaction, row: Row[Any], message: Row[Any]) -> Outcome:
        history = History(
            delivery=Delivery(message.delivery),
            attempt=row.attempt,
            failures=row.failures,
            crashes=row.crashes,
            age_seconds=max(0.0, to_seconds(tx.now_at - message.first_due_at)),
            max_deliveries=message.max_deliveries,
        )
        return after_crash(history, self._rules)

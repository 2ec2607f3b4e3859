"""rescue: the leases of a dispatcher that fell silent become anyone's; so do those of one that leaves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, select

from ap4r.message import Delivery
from ap4r.outcome import Dead, DeliveryRules, Dropped, History, Outcome, PutBack, after_crash
from ap4r.storage.sql.dispatchers import Dispatchers
from ap4r.storage.sql.orphans import set_aside
from ap4r.storage.sql.outcomes import Outcomes
from ap4r.storage.sql.plans import by_index, by_primary_key
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import Transaction, to_seconds
from ap4r.storage.store import Rescued

_IDS_A_QUERY = 500


class Rescues:
    """Takes leases from their owner."""

    def __init__(self, schema: Schema, dispatchers: Dispatchers, outcomes: Outcomes, rules: DeliveryRules) -> None:
        self._dispatchers = dispatchers
        self._outcomes = outcomes
        self._rules = rules
        leased, messages = schema.leased, schema.messages
        held = select(leased).where(leased.c.owner == bindparam("of")).limit(bindparam("most")).with_for_update()
        self._held = by_index(held, leased, f"{schema.prefix}leased_owner")
        wanted = select(messages.c.id, messages.c.delivery, messages.c.max_deliveries, messages.c.first_due_at)
        self._wanted = by_primary_key(wanted.where(messages.c.id.in_(bindparam("ids", expanding=True))), messages)

    def write(self, tx: Transaction, owner: str, beat: int, limit: int) -> Rescued | None:
        """Take up to `limit` leases from an owner whose counter still stands at `beat`; None when it lives.

        The owner is removed first, so that it can neither beat nor claim any more.
        """
        if not self._dispatchers.stands_at(tx, owner, beat):
            return None
        self._dispatchers.leave(tx, owner)
        held = self._rows(tx, owner, limit)
        messages = self._messages_of(tx, held)
        set_aside(tx, (row.id for row in held), messages)
        rows = [(row, self._after_crash(tx, row, messages[row.id])) for row in held if row.id in messages]
        if rows:
            self._outcomes.write(tx, rows, crashed=True)
        outcomes = [outcome for _, outcome in rows]
        dead = sum(isinstance(outcome, Dead) for outcome in outcomes)
        dropped = sum(isinstance(outcome, Dropped) for outcome in outcomes)
        return Rescued(freed=len(outcomes) - dead - dropped, dead=dead, dropped=dropped)

    def hand_back(self, tx: Transaction, owner: str, limit: int) -> int:
        """Remove an owner that leaves, and give up to `limit` of its leases back uncalled."""
        self._dispatchers.leave(tx, owner)
        rows: list[tuple[Row[Any], Outcome]] = [(row, PutBack()) for row in self._rows(tx, owner, limit)]
        if rows:
            self._outcomes.write(tx, rows)
        return len(rows)

    def _rows(self, tx: Transaction, owner: str, limit: int) -> list[Row[Any]]:
        return list(tx.connection.execute(self._held, {"of": owner, "most": limit}))

    def _messages_of(self, tx: Transaction, rows: list[Row[Any]]) -> dict[bytes, Row[Any]]:
        found: dict[bytes, Row[Any]] = {}
        for start in range(0, len(rows), _IDS_A_QUERY):
            ids = [row.id for row in rows[start : start + _IDS_A_QUERY]]
            found.update({message.id: message for message in tx.connection.execute(self._wanted, {"ids": ids})})
        return found

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

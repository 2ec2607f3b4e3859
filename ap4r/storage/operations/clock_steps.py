"""Handles a store's clock that was set back: a retry that was due soon must not wait as long as the clock went back.

An instant that a caller chose, or that follows from its delay, stays unchanged.
"""

from __future__ import annotations

from sqlalchemy import and_, bindparam, select

from ap4r.storage.access.transaction import MICROSECONDS, Transaction
from ap4r.storage.schema.tables import Schema

#: The clocks of a cluster's nodes may differ slightly.
_LEAST_STEP = MICROSECONDS
_AT_A_TIME = 500


class ClockSteps:
    """Detects that the store's clock went back, and brings retries forward."""

    def __init__(self, schema: Schema) -> None:
        self._latest_at: int | None = None
        self._late = False
        scheduled, attempts = schema.scheduled, schema.attempts
        self._scheduled = scheduled
        # A retry whose last attempt has not ended yet, by the present clock.
        self._from_the_future = (
            select(scheduled, attempts.c.ended_at)
            .join(attempts, and_(attempts.c.id == scheduled.c.id, attempts.c.attempt == scheduled.c.attempt))
            .where(scheduled.c.due_at > bindparam("now_at"), attempts.c.ended_at > bindparam("now_at"))
            .order_by(scheduled.c.due_at, scheduled.c.id)
            .limit(_AT_A_TIME)
            .with_for_update(skip_locked=True)
        )
        # So that the next claim, in this or another process, does not bring them forward again.
        self._end_now = (
            attempts.update()
            .where(attempts.c.id == bindparam("b_id"), attempts.c.attempt == bindparam("b_attempt"))
            .values(ended_at=bindparam("b_ended_at"))
        )

    def went_back(self, now_at: int) -> bool:
        """Return whether the clock went back since it was seen last."""
        latest_at, self._latest_at = self._latest_at, now_at
        if latest_at is None or latest_at - now_at < _LEAST_STEP:
            return False
        self._late = True
        return True

    def bring_forward(self, tx: Transaction) -> bool:
        """Restore the wait of retries to what it was when they failed; return whether any was changed."""
        if not self._late:
            return False
        found = tx.connection.execute(self._from_the_future, {"now_at": tx.now_at}).mappings().all()
        if not found:
            # Only after this commit: if it fails, the search is repeated.
            tx.after_commit.append(self._done)
            return False
        moved = []
        for row in found:
            state = {name: value for name, value in row.items() if name != "ended_at"}
            moved.append({**state, "due_at": row["due_at"] - (row["ended_at"] - tx.now_at)})
        tx.delete(self._scheduled, [{"due_at": row["due_at"], "id": row["id"]} for row in found])
        tx.insert(self._scheduled, moved)
        ended = [{"b_id": row["id"], "b_attempt": row["attempt"], "b_ended_at": tx.now_at} for row in found]
        tx.connection.execute(self._end_now, ended)
        return True

    def _done(self) -> None:
        self._late = False

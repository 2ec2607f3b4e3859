"""Writes outcomes of leased messages: each leaves `leased` and enters the state that its outcome names.

The caller has locked the leased rows; only what follows from them is changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, bindparam

from ap4r.outcome.outcome import Dead, Delivered, Dropped, Failure, Outcome, PutBack, RetryLater
from ap4r.storage.access.transaction import Transaction, to_microseconds
from ap4r.storage.schema.tables import DETAIL_BYTES, Schema

ATTEMPTS_KEPT = 20  #: per message; older ones are deleted


class Transitions:
    """Moves messages out of `leased`."""

    def __init__(self, schema: Schema) -> None:
        leased, messages, attempts = schema.leased, schema.messages, schema.attempts
        self._leased, self._messages = leased, messages
        self._delete_old_attempts = attempts.delete().where(
            attempts.c.id == bindparam("b_id"), attempts.c.attempt <= bindparam("b_attempt")
        )
        self._attempts = attempts
        self._ready, self._scheduled, self._dead = schema.ready, schema.scheduled, schema.dead

    def write(self, tx: Transaction, rows: Sequence[tuple[Row[Any], Outcome]], *, crashed: bool = False) -> None:
        """Move each leased row to the state that its outcome names.

        :param crashed: the outcomes follow from a dispatcher's death, which each message counts.
        """
        ready: list[dict[str, Any]] = []
        scheduled: list[dict[str, Any]] = []
        dead: list[dict[str, Any]] = []
        attempts: list[dict[str, Any]] = []
        gone: list[dict[str, Any]] = []
        gone_with_attempts: list[dict[str, Any]] = []
        for row, outcome in rows:
            if isinstance(outcome, (Delivered, Dropped)):
                gone.append({"id": row.id})
                if row.attempt > 1 or row.crashes:
                    gone_with_attempts.append({"id": row.id})
                continue
            state = {
                "id": row.id,
                "lane": row.lane,
                "attempt": row.attempt,
                "failures": row.failures,
                "crashes": row.crashes + (1 if crashed else 0),
            }
            match outcome:
                case PutBack():
                    ready.append({**state, "attempt": row.attempt - 1, "position": row.position})
                case RetryLater(failure=failure, wait_seconds=wait_seconds, counts=counts):
                    state["failures"] += 1 if counts else 0
                    attempts.append(_attempt(row, failure, tx.now_at))
                    if wait_seconds > 0:
                        due_at = tx.now_at + to_microseconds(wait_seconds)
                        scheduled.append({**state, "due_at": due_at})
                    else:
                        ready.append({**state, "position": row.position})
                case Dead(failure=failure, called=called, counts=counts):
                    state["failures"] += 1 if counts else 0
                    state["attempt"] -= 0 if called else 1
                    dead.append({**state, **_death(outcome, tx.now_at)})
                    if failure is not None and called:
                        attempts.append(_attempt(row, failure, tx.now_at))
        execute = tx.connection.execute
        tx.delete(self._leased, [{"id": row.id} for row, _ in rows])
        tx.delete(self._messages, gone)
        tx.delete(self._attempts, gone_with_attempts)
        tx.insert(self._ready, ready)
        tx.insert(self._scheduled, scheduled)
        tx.insert(self._dead, dead)
        if attempts:
            execute(tx.insert_new(self._attempts), attempts)
            full = [row for row in attempts if row["attempt"] > ATTEMPTS_KEPT]
            if full:
                old = [{"b_id": row["id"], "b_attempt": row["attempt"] - ATTEMPTS_KEPT} for row in full]
                execute(self._delete_old_attempts, old)


def _attempt(row: Row[Any], failure: Failure, now_at: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "ended_at": now_at,
        "attempt": row.attempt,
        "reason": failure.reason.value,
        "status": failure.status,
        "detail": _cut(failure.detail),
        "seconds": failure.seconds if math.isfinite(failure.seconds) else 0.0,
    }


def _death(outcome: Dead, now_at: int) -> dict[str, Any]:
    failure = outcome.failure
    return {
        "died_at": now_at,
        "reason": outcome.reason.value,
        "status": None if failure is None else failure.status,
        "detail": b"" if failure is None else _cut(failure.detail),
        "called": outcome.called,
    }


def _cut(text: str) -> bytes:
    # Bookkeeping is cut, never refused: a text too long must not keep a message from being settled.
    return text.encode("utf-8", "replace")[:DETAIL_BYTES].decode("utf-8", "ignore").encode()

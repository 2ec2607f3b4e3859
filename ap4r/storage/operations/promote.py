"""Promotion: scheduled messages that are due enter their lanes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Row, bindparam, func, or_, select

from ap4r.storage.access.statements import Compiled, by_primary_key
from ap4r.storage.access.transaction import MICROSECONDS, Transaction, to_seconds
from ap4r.storage.databases.mysql.galera import ClusterPartition, is_in_share
from ap4r.storage.operations.scan_start import FRONT, ScanStart
from ap4r.storage.schema.tables import Schema

#: In a cluster, messages overdue for longer are promoted by any dispatcher, in case their own one does not.
_OVERDUE_MICROSECONDS = MICROSECONDS
_LANE = 0  #: scheduled messages form one queue


class Promotion:
    """Moves due messages from `scheduled` to `ready`."""

    def __init__(self, schema: Schema) -> None:
        scheduled = self._scheduled = schema.scheduled
        self._ready = schema.ready
        self._front = ScanStart()
        due = by_primary_key(
            select(scheduled)
            .where(scheduled.c.due_at <= bindparam("now_at"), scheduled.c.due_at >= bindparam("begin"))
            .order_by(scheduled.c.due_at, scheduled.c.id)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True),
            scheduled,
        )
        self._due = due
        self._due_in_share = due.where(or_(is_in_share(scheduled), scheduled.c.due_at < bindparam("overdue_at")))
        self._next_due = Compiled(select(func.min(scheduled.c.due_at)).where(scheduled.c.due_at >= bindparam("begin")))

    def begin(self) -> int:
        """Return the instant from which to search for the next due message."""
        return self._front.begin(_LANE) if self._front.is_slow(time.monotonic()) else FRONT

    def write(
        self,
        tx: Transaction,
        most: int,
        share: ClusterPartition | None,
        begin: int,
        next_due_at: int | None,
        began: float,
    ) -> float | None:
        """Promote up to `most` due messages; return the seconds until the next is due, None when there is none.

        :param next_due_at: the result of a search from `begin`, which started at the monotonic instant `began`.
        """
        # Usually nothing is due, and then that one search is enough.
        due = self._found(tx, begin, most, share) if next_due_at is not None and next_due_at <= tx.now_at else []
        seconds = time.monotonic() - began
        if due:
            moved = [{**row._mapping, "position": row.due_at} for row in due]
            for row in moved:
                del row["due_at"]
            tx.insert(self._ready, moved)
            tx.delete(self._scheduled, [{"due_at": row.due_at, "id": row.id} for row in due])
            next_due_at = self._look_for_one(tx, _LANE, begin)
        self._front.took(_LANE, tx.now_at if next_due_at is None else min(tx.now_at, next_due_at), len(due))
        if begin == FRONT:
            self._front.scanned(time.monotonic(), seconds, partial(self._look_for_one, tx))
        return None if next_due_at is None else max(0.0, to_seconds(next_due_at - tx.now_at))

    def forget_ends(self) -> None:
        """Search from the front again: the clock went back."""
        self._front = ScanStart()

    def failed(self, now: float) -> None:
        """Record that a claim did not complete."""
        self._front.failed(now)

    def _found(self, tx: Transaction, begin: int, most: int, share: ClusterPartition | None) -> Sequence[Row[Any]]:
        wanted = {"now_at": tx.now_at, "begin": begin, "most": most}
        if share is None:
            return tx.connection.execute(self._due, wanted).all()
        own = {"shares": share.shares, "own_share": share.own, "overdue_at": tx.now_at - _OVERDUE_MICROSECONDS}
        return tx.connection.execute(self._due_in_share, wanted | own).all()

    def _look_for_one(self, tx: Transaction, lane: int, begin: int) -> int | None:
        found: int | None = self._next_due.execute(tx.connection, {"begin": begin}).scalar()
        return found

"""claim: due messages are leased to one dispatcher, the lanes in turn.

The cost does not grow with what waits: every query reads as many rows as it returns, lanes that are held back
included (they are stepped over a lane at a time, never a message at a time).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Row, bindparam, func, literal_column, select

from ap4r.storage.sql.dispatchers import Dispatchers
from ap4r.storage.sql.rows import expires_in_seconds, message_of
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import Transaction, to_seconds
from ap4r.storage.store import Claim, Lease

#: Scheduled messages that one claim moves to ready, at the least; more when more are wanted.
_LEAST_PROMOTED = 200
_LANES_A_PAGE = 256


class Claims:
    """Leases messages. Remembers where among the lanes the last claim ended, so that each has its turn."""

    def __init__(self, schema: Schema, dispatchers: Dispatchers) -> None:
        self._dispatchers = dispatchers
        self._cursor = 0
        ready, scheduled, leased, messages = schema.ready, schema.scheduled, schema.leased, schema.messages
        self._ready = ready
        self._due = (
            select(scheduled)
            .where(scheduled.c.due_at <= bindparam("now_at"))
            .order_by(scheduled.c.due_at, scheduled.c.id)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
        self._next_due = select(func.min(scheduled.c.due_at))
        self._delete_scheduled = scheduled.delete().where(
            scheduled.c.due_at == bindparam("b_due_at"), scheduled.c.id == bindparam("b_id")
        )
        self._insert_ready = ready.insert()
        self._delete_ready = ready.delete().where(
            ready.c.lane == bindparam("b_lane"),
            ready.c.position == bindparam("b_position"),
            ready.c.id == bindparam("b_id"),
        )
        self._insert_leased = leased.insert()
        self._messages = messages
        self._oldest = (
            select(ready)
            .where(ready.c.lane == bindparam("wanted_lane"))
            .order_by(ready.c.position, ready.c.id)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
        self._further = self._oldest.offset(bindparam("skipped"))
        # Steps from lane to lane with one look into the index each, however many messages wait in a lane.
        steps = (
            select(func.min(ready.c.lane).label("lane"))
            .where(ready.c.lane > bindparam("after"))
            .cte("steps", recursive=True)
        )
        following = select(func.min(ready.c.lane)).where(ready.c.lane > steps.c.lane).scalar_subquery()
        steps = steps.union_all(select(following).where(steps.c.lane.is_not(None)))
        self._filled_lanes = (
            select(steps.c.lane).where(steps.c.lane.is_not(None)).limit(literal_column(str(_LANES_A_PAGE)))
        )

    def write(self, tx: Transaction, owner: str, limit: int, excluded: Collection[int]) -> Claim:
        """Lease up to `limit` due messages of lanes that are not excluded."""
        self._dispatchers.beat(tx, owner)
        self._promote(tx, max(limit, _LEAST_PROMOTED))
        rows = self._choose(tx, limit, excluded) if limit > 0 else []
        leases = self._lease(tx, owner, rows) if rows else ()
        next_due_at = tx.connection.execute(self._next_due).scalar()
        wait_seconds = None if next_due_at is None else max(0.0, to_seconds(next_due_at - tx.now_at))
        return Claim(leases, more=0 < limit <= len(rows), next_due_in_seconds=wait_seconds)

    def _promote(self, tx: Transaction, most: int) -> None:
        due = tx.connection.execute(self._due, {"now_at": tx.now_at, "most": most}).all()
        if due:
            moved = [{**row._mapping, "position": row.due_at} for row in due]
            for row in moved:
                del row["due_at"]
            tx.connection.execute(self._insert_ready, moved)
            gone = [{"b_due_at": row.due_at, "b_id": row.id} for row in due]
            tx.connection.execute(self._delete_scheduled, gone)

    def _choose(self, tx: Transaction, limit: int, excluded: Collection[int]) -> list[Row[Any]]:
        """Take an equal share from each lane, then fill up from those that have more."""
        lanes = self._lanes_in_turn(tx, limit, excluded)
        chosen: list[Row[Any]] = []
        fuller: list[tuple[int, int]] = []
        for index, lane in enumerate(lanes):
            share = -(-(limit - len(chosen)) // (len(lanes) - index))
            rows = tx.connection.execute(self._oldest, {"wanted_lane": lane, "most": share}).all()
            chosen.extend(rows)
            if rows and len(rows) == share:
                fuller.append((lane, share))
        for lane, share in fuller:
            if len(chosen) >= limit:
                break
            wanted = {"wanted_lane": lane, "most": limit - len(chosen), "skipped": share}
            chosen.extend(tx.connection.execute(self._further, wanted).all())
        return chosen

    def _lanes_in_turn(self, tx: Transaction, limit: int, excluded: Collection[int]) -> list[int]:
        held = frozenset(excluded)
        lanes: list[int] = []
        for lane in self._filled(tx, held):
            lanes.append(lane)
            if len(lanes) == limit:
                break
        if lanes:
            self._cursor = lanes[-1] if len(lanes) == limit else lanes[0]
        return lanes

    def _filled(self, tx: Transaction, held: frozenset[int]) -> Iterator[int]:
        """Give the lanes in which something is ready and that are not held, each once, from the cursor round."""
        if held:
            known = tx.lanes.known(tx)
            free = [lane for lane in known if lane not in held]
            if len(free) <= len(held):
                yield from self._filled_among(tx, sorted(free))
                return
        for start, stop in ((self._cursor, None), (-1, self._cursor)):
            after = start
            while True:
                page = list(tx.connection.execute(self._filled_lanes, {"after": after}).scalars())
                for lane in page:
                    if stop is not None and lane > stop:
                        return
                    if lane not in held:
                        yield lane
                if len(page) < _LANES_A_PAGE:
                    break
                after = page[-1]

    def _filled_among(self, tx: Transaction, lanes: list[int]) -> Iterator[int]:
        turned = [lane for lane in lanes if lane > self._cursor] + [lane for lane in lanes if lane <= self._cursor]
        for start in range(0, len(turned), _LANES_A_PAGE):
            page = turned[start : start + _LANES_A_PAGE]
            directory = tx.schema.lanes
            something = select(1).where(self._ready.c.lane == directory.c.id).exists()
            filled = set(
                tx.connection.execute(select(directory.c.id).where(directory.c.id.in_(page), something)).scalars()
            )
            yield from (lane for lane in page if lane in filled)

    def _lease(self, tx: Transaction, owner: str, rows: list[Row[Any]]) -> tuple[Lease, ...]:
        token = os.urandom(16)
        leased = [{**row._mapping, "attempt": row.attempt + 1, "token": token, "owner": owner} for row in rows]
        gone = [{"b_lane": row.lane, "b_position": row.position, "b_id": row.id} for row in rows]
        tx.connection.execute(self._delete_ready, gone)
        tx.connection.execute(self._insert_leased, leased)
        wanted = select(self._messages).where(self._messages.c.id.in_([row.id for row in rows]))
        messages = {row["id"]: row for row in tx.connection.execute(wanted).mappings()}
        names = tx.lanes.names_of(tx, {row.lane for row in rows})
        leases = []
        for row in leased:
            message = messages[row["id"]]
            leases.append(
                Lease(
                    message=message_of(message, names[row["lane"]][0]),
                    lane=row["lane"],
                    token=token,
                    attempt=row["attempt"],
                    failures=row["failures"],
                    crashes=row["crashes"],
                    age_seconds=max(0.0, to_seconds(tx.now_at - message["first_due_at"])),
                    expires_in_seconds=expires_in_seconds(message["expires_at"], tx.now_at),
                )
            )
        return tuple(leases)

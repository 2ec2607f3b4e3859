"""claim: due messages are leased to one dispatcher, the lanes in turn.

The cost does not grow with what waits: every query reads as many rows as it returns, lanes that are held back
included (they are stepped over a lane at a time, never a message at a time).
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import Row, bindparam, func, literal, or_, select

from ap4r.storage.sql.compiled import Compiled
from ap4r.storage.sql.dispatchers import Dispatchers
from ap4r.storage.sql.fronts import FRONT, Fronts
from ap4r.storage.sql.orphans import set_aside
from ap4r.storage.sql.plans import by_primary_key
from ap4r.storage.sql.promotion import Promotion
from ap4r.storage.sql.rows import expires_in_seconds, message_of
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.share import Share, is_in_share
from ap4r.storage.sql.transaction import Transaction, to_seconds
from ap4r.storage.store import Claim, Lease

#: Scheduled messages that one claim moves to ready, at the least; more when more are wanted.
_LEAST_PROMOTED = 200
_LANES_A_PAGE = 256
#: A claim takes from no more lanes than this, for each costs a round trip; the others' turn comes with the next.
_LANES_A_CLAIM = 256


class Claims:
    """Leases messages. Remembers where among the lanes the last claim ended, so that each has its turn."""

    def __init__(self, schema: Schema, dispatchers: Dispatchers) -> None:
        self._dispatchers = dispatchers
        self._cursor = 0
        self._fronts = Fronts()
        self._seen: frozenset[int] = frozenset()  # the lanes that were known at the last look from the fronts
        ready, messages = schema.ready, schema.messages
        self._ready, self._messages = ready, messages
        self._promotion = Promotion(schema)
        self._leased = schema.leased
        oldest = by_primary_key(
            select(ready)
            .where(
                ready.c.lane == bindparam("wanted_lane"),
                ready.c.position >= bindparam("begin"),
                # Written so that every database still finds the first condition in the index.
                or_(ready.c.position > bindparam("begin"), ready.c.id > bindparam("behind")),
            )
            .order_by(ready.c.position, ready.c.id)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True),
            ready,
        )
        self._oldest = {
            None: Compiled(oldest),
            True: Compiled(oldest.where(is_in_share(ready))),
            False: Compiled(oldest.where(~is_in_share(ready))),
        }
        self._first = (
            select(ready.c.id)
            .where(ready.c.lane == bindparam("wanted_lane"), ready.c.position >= bindparam("begin"))
            .order_by(ready.c.position, ready.c.id)
            .limit(1)
        )
        self._next_filled = select(func.min(ready.c.lane)).where(ready.c.lane >= bindparam("first"))
        lanes = schema.lanes
        something = (
            select(literal(1)).where(ready.c.lane == lanes.c.id).order_by(ready.c.position).limit(1).scalar_subquery()
        )
        self._filled_among = (
            select(lanes.c.id)
            .where(lanes.c.id.in_(bindparam("page", expanding=True)), something.is_not(None))
            .order_by(lanes.c.id)
        )
        self._wanted = by_primary_key(
            select(messages).where(messages.c.id.in_(bindparam("ids", expanding=True))), messages
        )

    def write(self, tx: Transaction, owner: str, limit: int, excluded: Collection[int]) -> Claim:
        """Lease up to `limit` due messages of lanes that are not excluded."""
        self._dispatchers.beat(tx, owner)
        share = self._dispatchers.share(tx, owner) if tx.database.conflicts_at_commit else None
        try:
            wait_seconds = self._promotion.write(tx, max(limit, _LEAST_PROMOTED), share)
        except BaseException:
            self._promotion.failed(time.monotonic())
            raise
        try:
            rows, all_lanes = self._choose(tx, limit, frozenset(excluded), share) if limit > 0 else ([], False)
        except BaseException:
            self._fronts.failed(time.monotonic())
            raise
        leases = self._lease(tx, owner, rows) if rows else ()
        more = 0 < limit <= len(rows) or (bool(rows) and not all_lanes)
        return Claim(leases, more=more, next_due_in_seconds=wait_seconds)

    def _choose(
        self, tx: Transaction, limit: int, held: frozenset[int], share: Share | None
    ) -> tuple[list[Row[Any]], bool]:
        """Give rows that are now locked, and whether every lane with something ready was asked."""
        most = min(limit, _LANES_A_CLAIM)
        began = time.monotonic()
        if self._fronts.are_near(began):
            near = self._turned(self._lanes_near(tx, held))
            return self._from_lanes(tx, limit, near[:most], share, near=True, all_lanes=len(near) <= most), (
                len(near) <= most
            )
        known = tx.lanes.known(tx)
        lanes = list(islice(self._filled(tx, known, held), most))
        rows = self._from_lanes(tx, limit, lanes, share, near=False, all_lanes=len(lanes) < most)
        self._seen = frozenset(known)
        if len(lanes) < most and len(known) <= _LANES_A_PAGE:
            for lane in set(known).difference(held, lanes):
                self._fronts.ended(lane, tx.now_at)
        ended = time.monotonic()
        self._fronts.looked(ended, ended - began, partial(self._look_for_one, tx))
        return rows, len(lanes) < most

    def _look_for_one(self, tx: Transaction, lane: int, begin: int) -> None:
        tx.connection.execute(self._first, {"wanted_lane": lane, "begin": begin}).all()

    def _from_lanes(
        self, tx: Transaction, limit: int, lanes: Sequence[int], share: Share | None, *, near: bool, all_lanes: bool
    ) -> list[Row[Any]]:
        """Take an equal part from each lane, then fill up from those that have more."""
        if lanes:
            self._cursor = lanes[0] if all_lanes else lanes[-1]
        begins = {lane: (self._fronts.begin(lane) if near else FRONT) for lane in lanes}
        chosen: list[Row[Any]] = []
        # In a cluster each prefers what the others do not, for they do not see what it has locked.
        for mine in (None,) if share is None else (True, False):
            fuller: list[Row[Any]] = []
            for index, lane in enumerate(lanes):
                part = -(-(limit - len(chosen)) // (len(lanes) - index))
                rows = self._take(tx, lane, begins[lane], b"", part, mine, share) if part else []
                chosen += rows
                if rows and len(rows) == part:
                    fuller.append(rows[-1])
            for last in fuller:
                if len(chosen) < limit:
                    chosen += self._take(tx, last.lane, last.position, last.id, limit - len(chosen), mine, share)
        return chosen

    def _take(
        self, tx: Transaction, lane: int, begin: int, behind: bytes, most: int, mine: bool | None, share: Share | None
    ) -> list[Row[Any]]:
        wanted = {"wanted_lane": lane, "begin": begin, "behind": behind, "most": most}
        if share is not None:
            wanted |= {"shares": share.shares, "own_share": share.own}
        rows = list(self._oldest[mine].execute(tx.connection, wanted).all())
        if rows:
            self._fronts.took(lane, rows[-1].position, len(rows))
        return rows

    def _lanes_near(self, tx: Transaction, held: frozenset[int]) -> list[int]:
        """Give the lanes that may have something behind their fronts, the new ones among them."""
        new = frozenset(tx.lanes.known(tx)) - self._seen
        return sorted({*self._fronts.lanes(), *new} - held)

    def _filled(self, tx: Transaction, known: Collection[int], held: frozenset[int]) -> Iterator[int]:
        """Give the lanes in which something is ready and that are not held, each once, from the cursor round."""
        lanes = sorted(lane for lane in known if lane not in held)
        split = bisect_right(lanes, self._cursor)
        for part in (lanes[split:], lanes[:split]):
            start = 0
            while start < len(part):
                if len(part) - start > _LANES_A_PAGE:
                    # One look into the index steps over lanes in which nothing is ready, however many they are.
                    filled = tx.connection.execute(self._next_filled, {"first": part[start]}).scalar()
                    start = len(part) if filled is None else bisect_left(part, filled, start)
                page = part[start : start + _LANES_A_PAGE]
                found = set(tx.connection.execute(self._filled_among, {"page": page}).scalars()) if page else set()
                yield from (lane for lane in page if lane in found)
                start += _LANES_A_PAGE

    def _turned(self, lanes: list[int]) -> list[int]:
        split = bisect_right(lanes, self._cursor)
        return lanes[split:] + lanes[:split]

    def _lease(self, tx: Transaction, owner: str, rows: list[Row[Any]]) -> tuple[Lease, ...]:
        token = os.urandom(16)
        leased = [
            {
                "id": row.id,
                "token": token,
                "owner": owner,
                "lane": row.lane,
                "position": row.position,
                "attempt": row.attempt + 1,
                "failures": row.failures,
                "crashes": row.crashes,
            }
            for row in rows
        ]
        tx.delete(self._ready, [{"lane": row.lane, "position": row.position, "id": row.id} for row in rows])
        tx.insert(self._leased, leased)
        found = tx.connection.execute(self._wanted, {"ids": [row.id for row in rows]}).all()
        messages = {message.id: message for message in found}
        if len(messages) < len(rows):
            set_aside(tx, (row.id for row in rows), messages)
            rows = [row for row in rows if row.id in messages]
        names = tx.lanes.names_of(tx, {row.lane for row in rows})
        now_at, leases = tx.now_at, []
        for row in rows:
            message = messages[row.id]
            leases.append(
                Lease(
                    message=message_of(message, names[row.lane][0]),
                    lane=row.lane,
                    token=token,
                    attempt=row.attempt + 1,
                    failures=row.failures,
                    crashes=row.crashes,
                    age_seconds=max(0.0, to_seconds(now_at - message.first_due_at)),
                    expires_in_seconds=expires_in_seconds(message.expires_at, now_at),
                )
            )
        return tuple(leases)

"""claim: due messages are leased to one dispatcher, the lanes in turn.

The cost does not grow with what waits: every query reads as many rows as it returns, lanes that are held back
included (they are stepped over a lane at a time, never a message at a time).
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, literal, select

from ap4r.storage.access.transaction import Transaction
from ap4r.storage.operations.claim_rows import Claimant, ClaimRows
from ap4r.storage.operations.claim_survey import Surveys
from ap4r.storage.operations.clock_steps import ClockSteps
from ap4r.storage.operations.dispatchers import Dispatchers
from ap4r.storage.operations.lane_order import LaneOrder, LaneOrders
from ap4r.storage.operations.promote import Promotion
from ap4r.storage.operations.scan_start import FRONT, ScanStart
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import Claim

#: Scheduled messages that one claim moves to ready, at the least; more when more are wanted.
_LEAST_PROMOTED = 200
_LANES_A_PAGE = 256
#: So few lanes are each asked for their oldest messages; of more it is asked first which have any.
_FEW_LANES = 2
#: A claim takes from no more lanes than this, for each costs a round trip; the others' turn comes with the next.
_LANES_A_CLAIM = 256


Row = tuple[Any, ...]  #: of `ready`, with what it is about: `ClaimRows` has the order


class Turns(NamedTuple):
    """Whose turn it is. `held` lanes give nothing; `yielding` ones what the others leave, at most `most_yielding`."""

    held: frozenset[int] = frozenset()
    yielding: frozenset[int] = frozenset()
    most_yielding: int = 0


class Claims:
    """Leases messages. Remembers where among the lanes the last claim ended, so that each has its turn."""

    def __init__(self, schema: Schema, dispatchers: Dispatchers) -> None:
        self._dispatchers = dispatchers
        self._cursor = 0
        self._yielding_cursor = 0
        self._orders = LaneOrders()
        self._fronts = ScanStart()
        self._clock_steps = ClockSteps(schema)
        self._seen: frozenset[int] = frozenset()  # the lanes that were known at the last look from the fronts
        ready = schema.ready
        self._surveys = Surveys(schema)
        self._promotion = Promotion(schema)
        self._taking = ClaimRows(schema)
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

    def write(self, tx: Transaction, owner: str, limit: int, turns: Turns, beat: bool) -> Claim:
        """Lease up to `limit` due messages of lanes that are not held.

        :raises OwnerLost: there is no such dispatcher any more.
        """
        # In a cluster nobody sees that the row is locked: only a change of it meets another's at COMMIT.
        beat = beat or tx.database.conflicts_at_commit
        if beat:
            self._dispatchers.beat(tx, owner)
        share = self._dispatchers.share(tx, owner) if tx.database.conflicts_at_commit else None
        try:
            began, begin = time.monotonic(), self._promotion.begin()
            survey = self._surveys.read(tx, begin, None if beat else owner)
            if self._clock_steps.went_back(tx.now_at):
                # What is stored from now on stands before where the last looks have ended.
                self._fronts = ScanStart()
                self._promotion.forget_ends()
            most = max(limit, _LEAST_PROMOTED)
            wait_seconds = self._promotion.write(tx, most, share, begin, survey.next_due_at, began)
            if self._clock_steps.bring_forward(tx):
                wait_seconds = 0.0
        except BaseException:
            self._promotion.failed(time.monotonic())
            raise
        taker = Claimant(owner, share)
        try:
            rows: list[Row] = []
            all_lanes = waits = False
            if limit > 0:
                rows, all_lanes, waits = self._choose_in_turns(tx, taker, limit, survey.lanes, turns)
        except BaseException:
            self._fronts.failed(time.monotonic())
            raise
        leases = self._taking.lease(tx, taker, rows) if rows else ()
        more = 0 < limit <= len(rows) or (bool(rows) and not all_lanes) or waits
        return Claim(leases, more=more, next_due_in_seconds=wait_seconds)

    def _choose_in_turns(
        self, tx: Transaction, taker: Claimant, limit: int, known: Sequence[int], turns: Turns
    ) -> tuple[list[Row], bool, bool]:
        """Choose from the lanes, and from those that give way what the others leave.

        Give the rows, whether every lane with something ready was asked, and whether some that give way were not asked
        for all that there was room for.
        """
        first, last = self._orders.of(known, turns.held, turns.yielding)
        if not last.known:
            return *self._choose(tx, taker, limit, first), False
        seen, rows, all_lanes = self._seen, list[Row](), True
        if first.known:
            # The same for both kinds: what is leased already is not leased again with the others.
            taker.may_at_once = len(known) <= _FEW_LANES
            rows, all_lanes = self._choose(tx, taker, limit, first)
            seen |= first.known
        most = min(limit - len(rows), turns.most_yielding)
        found: list[Row] = []
        if most > 0:
            self._cursor, self._yielding_cursor = self._yielding_cursor, self._cursor
            try:
                found, are_all = self._choose(tx, taker, most, last)
            finally:
                self._cursor, self._yielding_cursor = self._yielding_cursor, self._cursor
            all_lanes = all_lanes and are_all
            seen |= last.known
        self._seen = seen & (first.known | last.known)
        return rows + found, all_lanes, len(found) >= most and most < limit - len(rows)

    def _choose(self, tx: Transaction, taker: Claimant, limit: int, order: LaneOrder) -> tuple[list[Row], bool]:
        """Give rows that are now locked, and whether every lane with something ready was asked."""
        most = min(limit, _LANES_A_CLAIM)
        began = time.monotonic()
        if self._fronts.are_near(began):
            near = self._turned(self._lanes_near(order))
            return self._from_lanes(tx, taker, limit, near[:most], near=True, all_lanes=len(near) <= most), (
                len(near) <= most
            )
        all_lanes = len(order.free) <= min(most, _FEW_LANES)
        if all_lanes:
            lanes = self._turned(order.free)
        else:
            lanes = list(islice(self._filled(tx, order.free), most))
            all_lanes = len(lanes) < most
        rows = self._from_lanes(tx, taker, limit, lanes, near=False, all_lanes=all_lanes)
        self._seen = order.known
        if all_lanes and len(order.known) <= _LANES_A_PAGE:
            for lane in set(order.free).difference(row[0] for row in rows):
                self._fronts.ended(lane, tx.now_at)
        ended = time.monotonic()
        self._fronts.looked(ended, ended - began, partial(self._look_for_one, tx))
        return rows, all_lanes

    def _look_for_one(self, tx: Transaction, lane: int, begin: int) -> None:
        tx.connection.execute(self._first, {"wanted_lane": lane, "begin": begin}).all()

    def _from_lanes(
        self, tx: Transaction, taker: Claimant, limit: int, lanes: Sequence[int], *, near: bool, all_lanes: bool
    ) -> list[Row]:
        """Take an equal part from each lane, then fill up from those that have more."""
        if lanes:
            self._cursor = lanes[0] if all_lanes else lanes[-1]
        begins = {lane: (self._fronts.begin(lane) if near else FRONT) for lane in lanes}
        # Of many lanes the rows are better moved together, when all are chosen.
        taker.at_once = (
            taker.may_at_once and tx.database.moves_at_once and taker.share is None and len(lanes) <= _FEW_LANES
        )
        chosen: list[Row] = []
        # In a cluster each prefers what the others do not, for they do not see what it has locked.
        for mine in (None,) if taker.share is None else (True, False):
            fuller: list[Row] = []
            for index, lane in enumerate(lanes):
                part = -(-(limit - len(chosen)) // (len(lanes) - index))
                rows = self._take(tx, taker, lane, begins[lane], b"", part, mine) if part else []
                chosen += rows
                if rows and len(rows) == part:
                    fuller.append(rows[-1])
            for lane, position, behind, *_ in fuller:
                if len(chosen) < limit:
                    chosen += self._take(tx, taker, lane, position, behind, limit - len(chosen), mine)
        return chosen

    def _take(
        self, tx: Transaction, taker: Claimant, lane: int, begin: int, behind: bytes, most: int, mine: bool | None
    ) -> Sequence[Row]:
        rows = self._taking.oldest(tx, taker, lane, begin, behind, most, mine)
        if rows:
            _, position, *_ = rows[-1]
            self._fronts.took(lane, position, len(rows))
        return rows

    def _lanes_near(self, order: LaneOrder) -> list[int]:
        """Give the lanes that may have something behind their fronts, the new ones among them."""
        near = {*self._fronts.lanes(), *(order.known - self._seen)}
        free = order.free
        return [lane for lane in sorted(near) if (at := bisect_left(free, lane)) < len(free) and free[at] == lane]

    def _filled(self, tx: Transaction, lanes: Sequence[int]) -> Iterator[int]:
        """Give the lanes in which something is ready, each once, from the cursor round."""
        split = bisect_right(lanes, self._cursor)
        for start, end in ((split, len(lanes)), (0, split)):
            at = start
            while at < end:
                if end - at > _LANES_A_PAGE:
                    # One look into the index steps over lanes in which nothing is ready, however many they are.
                    filled = tx.connection.execute(self._next_filled, {"first": lanes[at]}).scalar()
                    at = end if filled is None else bisect_left(lanes, filled, at, end)
                page = lanes[at : min(at + _LANES_A_PAGE, end)]
                found = set(tx.connection.execute(self._filled_among, {"page": page}).scalars()) if page else set()
                yield from (lane for lane in page if lane in found)
                at += _LANES_A_PAGE

    def _turned(self, lanes: Sequence[int]) -> list[int]:
        split = bisect_right(lanes, self._cursor)
        return [*lanes[split:], *lanes[:split]]

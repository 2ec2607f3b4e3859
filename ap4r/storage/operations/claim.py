"""claim: due messages are leased to one dispatcher, the lanes in turn.

The cost does not grow with the backlog: every query reads as many rows as it returns, also when lanes are held back
(they are skipped a lane at a time, never a message at a time).
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

#: The least number of scheduled messages that one claim may promote; more when more are wanted.
_LEAST_PROMOTED = 200
_LANES_A_PAGE = 256
#: Up to this many lanes are queried one by one; with more, a first query finds those that have messages.
_FEW_LANES = 2
#: The most lanes of one claim, because each costs a round trip; the others' turn comes with the next claim.
_LANES_A_CLAIM = 256


Row = tuple[Any, ...]  #: of `ready`, with its message: `ClaimRows` has the order


class Turns(NamedTuple):
    """Which lanes may be used. `held` ones are skipped; `yielding` ones get what the others leave, up to a limit."""

    held: frozenset[int] = frozenset()
    yielding: frozenset[int] = frozenset()
    most_yielding: int = 0


class Claims:
    """Leases messages. Remembers the lane at which the last claim ended, so that each lane has its turn."""

    def __init__(self, schema: Schema, dispatchers: Dispatchers) -> None:
        self._dispatchers = dispatchers
        self._cursor = 0
        self._yielding_cursor = 0
        self._orders = LaneOrders()
        self._scan_start = ScanStart()
        self._clock_steps = ClockSteps(schema)
        self._seen: frozenset[int] = frozenset()  # the lanes known at the last full scan
        ready = schema.ready
        self._surveys = Surveys(schema)
        self._promotion = Promotion(schema)
        self._claim_rows = ClaimRows(schema)
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

        :raises OwnerLost: the dispatcher does not exist any more.
        """
        # In a cluster other nodes do not see a row lock: only a change of the row conflicts at COMMIT.
        beat = beat or tx.database.conflicts_at_commit
        if beat:
            self._dispatchers.beat(tx, owner)
        share = self._dispatchers.share(tx, owner) if tx.database.conflicts_at_commit else None
        try:
            began, begin = time.monotonic(), self._promotion.begin()
            survey = self._surveys.read(tx, begin, None if beat else owner)
            if self._clock_steps.went_back(tx.now_at):
                # Messages stored from now on are placed before the ends of the last scans.
                self._scan_start = ScanStart()
                self._promotion.forget_ends()
            most = max(limit, _LEAST_PROMOTED)
            wait_seconds = self._promotion.write(tx, most, share, begin, survey.next_due_at, began)
            if self._clock_steps.bring_forward(tx):
                wait_seconds = 0.0
        except BaseException:
            self._promotion.failed(time.monotonic())
            raise
        claimant = Claimant(owner, share)
        try:
            rows: list[Row] = []
            all_lanes = waits = False
            if limit > 0:
                rows, all_lanes, waits = self._choose_in_turns(tx, claimant, limit, survey.lanes, turns)
        except BaseException:
            self._scan_start.failed(time.monotonic())
            raise
        leases = self._claim_rows.lease(tx, claimant, rows) if rows else ()
        more = 0 < limit <= len(rows) or (bool(rows) and not all_lanes) or waits
        return Claim(leases, more=more, next_due_in_seconds=wait_seconds)

    def _choose_in_turns(
        self, tx: Transaction, claimant: Claimant, limit: int, known: Sequence[int], turns: Turns
    ) -> tuple[list[Row], bool, bool]:
        """Choose rows from the lanes, and from yielding lanes what the others leave.

        Return the rows, whether every lane with ready messages was queried, and whether yielding lanes may have more
        than they were queried for.
        """
        first, last = self._orders.of(known, turns.held, turns.yielding)
        if not last.known:
            return *self._choose(tx, claimant, limit, first), False
        seen, rows, all_lanes = self._seen, list[Row](), True
        if first.known:
            # Both kinds use the same mode: what is leased already must not be leased again with the others.
            claimant.may_at_once = len(known) <= _FEW_LANES
            rows, all_lanes = self._choose(tx, claimant, limit, first)
            seen |= first.known
        most = min(limit - len(rows), turns.most_yielding)
        found: list[Row] = []
        if most > 0:
            self._cursor, self._yielding_cursor = self._yielding_cursor, self._cursor
            try:
                found, are_all = self._choose(tx, claimant, most, last)
            finally:
                self._cursor, self._yielding_cursor = self._yielding_cursor, self._cursor
            all_lanes = all_lanes and are_all
            seen |= last.known
        self._seen = seen & (first.known | last.known)
        return rows + found, all_lanes, len(found) >= most and most < limit - len(rows)

    def _choose(self, tx: Transaction, claimant: Claimant, limit: int, order: LaneOrder) -> tuple[list[Row], bool]:
        """Return rows that are now locked, and whether every lane with ready messages was queried."""
        most = min(limit, _LANES_A_CLAIM)
        began = time.monotonic()
        if self._scan_start.is_slow(began):
            near = self._turned(self._lanes_near(order))
            return self._from_lanes(tx, claimant, limit, near[:most], near=True, all_lanes=len(near) <= most), (
                len(near) <= most
            )
        all_lanes = len(order.free) <= min(most, _FEW_LANES)
        if all_lanes:
            lanes = self._turned(order.free)
        else:
            lanes = list(islice(self._filled(tx, order.free), most))
            all_lanes = len(lanes) < most
        rows = self._from_lanes(tx, claimant, limit, lanes, near=False, all_lanes=all_lanes)
        self._seen = order.known
        if all_lanes and len(order.known) <= _LANES_A_PAGE:
            for lane in set(order.free).difference(row[0] for row in rows):
                self._scan_start.ended(lane, tx.now_at)
        ended = time.monotonic()
        self._scan_start.scanned(ended, ended - began, partial(self._look_for_one, tx))
        return rows, all_lanes

    def _look_for_one(self, tx: Transaction, lane: int, begin: int) -> None:
        tx.connection.execute(self._first, {"wanted_lane": lane, "begin": begin}).all()

    def _from_lanes(
        self, tx: Transaction, claimant: Claimant, limit: int, lanes: Sequence[int], *, near: bool, all_lanes: bool
    ) -> list[Row]:
        """Return an equal part from each lane, filled up from those that have more."""
        if lanes:
            self._cursor = lanes[0] if all_lanes else lanes[-1]
        begins = {lane: (self._scan_start.begin(lane) if near else FRONT) for lane in lanes}
        # With many lanes it is faster to move all rows together, after all were chosen.
        claimant.at_once = (
            claimant.may_at_once and tx.database.moves_at_once and claimant.share is None and len(lanes) <= _FEW_LANES
        )
        chosen: list[Row] = []
        # In a cluster each dispatcher prefers its own share, because it does not see what the others have locked.
        for in_share in (None,) if claimant.share is None else (True, False):
            fuller: list[Row] = []
            for index, lane in enumerate(lanes):
                part = -(-(limit - len(chosen)) // (len(lanes) - index))
                rows = self._take(tx, claimant, lane, begins[lane], b"", part, in_share) if part else []
                chosen += rows
                if rows and len(rows) == part:
                    fuller.append(rows[-1])
            for lane, position, behind, *_ in fuller:
                if len(chosen) < limit:
                    chosen += self._take(tx, claimant, lane, position, behind, limit - len(chosen), in_share)
        return chosen

    def _take(
        self,
        tx: Transaction,
        claimant: Claimant,
        lane: int,
        begin: int,
        behind: bytes,
        most: int,
        in_share: bool | None,
    ) -> Sequence[Row]:
        rows = self._claim_rows.oldest(tx, claimant, lane, begin, behind, most, in_share)
        if rows:
            _, position, *_ = rows[-1]
            self._scan_start.took(lane, position, len(rows))
        return rows

    def _lanes_near(self, order: LaneOrder) -> list[int]:
        """Return the lanes that may have messages after their ends, the new lanes included."""
        near = {*self._scan_start.lanes(), *(order.known - self._seen)}
        free = order.free
        return [lane for lane in sorted(near) if (at := bisect_left(free, lane)) < len(free) and free[at] == lane]

    def _filled(self, tx: Transaction, lanes: Sequence[int]) -> Iterator[int]:
        """Yield the lanes that have ready messages, once each, starting after the cursor."""
        split = bisect_right(lanes, self._cursor)
        for start, end in ((split, len(lanes)), (0, split)):
            at = start
            while at < end:
                if end - at > _LANES_A_PAGE:
                    # One index look-up skips lanes without ready messages, however many there are.
                    filled = tx.connection.execute(self._next_filled, {"first": lanes[at]}).scalar()
                    at = end if filled is None else bisect_left(lanes, filled, at, end)
                page = lanes[at : min(at + _LANES_A_PAGE, end)]
                found = set(tx.connection.execute(self._filled_among, {"page": page}).scalars()) if page else set()
                yield from (lane for lane in page if lane in found)
                at += _LANES_A_PAGE

    def _turned(self, lanes: Sequence[int]) -> list[int]:
        split = bisect_right(lanes, self._cursor)
        return [*lanes[split:], *lanes[:split]]

"""status: reads a store's status, at a cost that does not grow with the backlog."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, func, select

from ap4r.outcome.retry_policy import UNAUTHORISED
from ap4r.storage.access.statements import by_index, by_primary_key
from ap4r.storage.access.transaction import Transaction, to_seconds
from ap4r.storage.operations.dispatchers import held_of
from ap4r.storage.reports import is_alive
from ap4r.storage.schema.rows import replayed_at
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import COUNT_LIMIT, DispatcherStatus, QueueStatus, StoreStatus, TurnedAwayQueue

#: How many scheduled messages are read to find answers that are caused by settings.
_EXAMINED = 1_000


_STATES = ("ready", "scheduled", "leased", "dead")


class _Lane:
    """The counts of one lane. `since_at` is the due time of the oldest waiting message."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.at_least: set[str] = set()  # the counts that are incomplete
        self.since_at: int | None = None

    def waits_since(self, instant: int | None) -> None:
        if instant is not None and (self.since_at is None or instant < self.since_at):
            self.since_at = instant


class StatusQueries:
    """Reads counts, ages and dispatchers.

    :param limit: where counting stops.
    """

    def __init__(self, schema: Schema, limit: int = COUNT_LIMIT) -> None:
        self._schema, self._limit = schema, limit
        ready, lanes, scheduled, dead = schema.ready, schema.lanes, schema.scheduled, schema.dead
        # The first of the rows that were put back, if there are any, and the first of the others. Not min(), for which
        # MySQL would read the whole lane.
        in_lane = select(ready.c.position).where(ready.c.lane == lanes.c.id).order_by(ready.c.position).limit(1)
        first_of_all = in_lane.scalar_subquery().label("first")
        usual = in_lane.where(ready.c.position >= 0).scalar_subquery().label("usual")
        self._first = select(lanes.c.id, usual, first_of_all)
        self._lane_counts = {
            table: self._counts_from(table, index)
            for table, index in (
                (ready, "PRIMARY"),
                (scheduled, f"{schema.prefix}scheduled_lane"),
                (dead, f"{schema.prefix}dead_lane"),
            )
        }
        self._leased = select(schema.leased.c.lane, func.count()).group_by(schema.leased.c.lane)
        self._due = self._counts_of_scheduled(scheduled.c.due_at <= bindparam("now_at"))
        self._later = self._counts_of_scheduled(scheduled.c.due_at > bindparam("now_at"))
        # Of the messages whose retry comes next: last attempts whose answer is caused by a server's settings.
        next_ones = (
            select(scheduled.c.id, scheduled.c.lane, scheduled.c.attempt)
            .order_by(scheduled.c.due_at)
            .limit(_EXAMINED)
            .subquery()
        )
        attempts = schema.attempts
        self._turned_away = (
            select(next_ones.c.lane, attempts.c.status, func.count())
            .join(attempts, (attempts.c.id == next_ones.c.id) & (attempts.c.attempt == next_ones.c.attempt))
            .where(next_ones.c.attempt > 0, attempts.c.status.in_(sorted(UNAUTHORISED)))
            .group_by(next_ones.c.lane, attempts.c.status)
        )

    def _counts_from(self, table: Table, index: str) -> Select[Any]:
        some = (
            by_index(select(table.c.lane).where(table.c.lane >= bindparam("from_lane")), table, index)
            .order_by(table.c.lane)
            .limit(self._limit + 1)
            .subquery()
        )
        return select(some.c.lane, func.count()).group_by(some.c.lane)

    def _counts_of_scheduled(self, which: ColumnElement[bool]) -> Select[Any]:
        scheduled = self._schema.scheduled
        some = (
            by_primary_key(select(scheduled.c.lane, scheduled.c.due_at).where(which), scheduled)
            .order_by(scheduled.c.due_at)
            .limit(self._limit + 1)
            .subquery()
        )
        return select(some.c.lane, func.count(), func.min(some.c.due_at)).group_by(some.c.lane)

    def read(self, tx: Transaction) -> StoreStatus:
        """Return the status of every queue that holds a message, and every dispatcher."""
        lanes = self._lanes(tx)
        queues: dict[str, _Lane] = defaultdict(_Lane)
        for lane, (queue, _) in tx.lanes.names_of(tx, lanes.keys()).items():
            queues[queue].counts += lanes[lane].counts
            queues[queue].at_least |= lanes[lane].at_least
            queues[queue].waits_since(lanes[lane].since_at)
        figures = tuple(self._status(tx, queue, found) for queue, found in sorted(queues.items()))
        oldest_seconds = max((queue.oldest_due_seconds for queue in figures), default=0.0)
        return StoreStatus(figures, self._dispatchers(tx), oldest_seconds, self._read_turned_away(tx))

    def _read_turned_away(self, tx: Transaction) -> tuple[TurnedAwayQueue, ...]:
        found = [(lane, status, count) for lane, status, count in tx.connection.execute(self._turned_away)]
        names = tx.lanes.names_of(tx, {lane for lane, _, _ in found}) if found else {}
        return tuple(
            sorted(
                (TurnedAwayQueue(*names[lane], status, count) for lane, status, count in found if lane in names),
                key=lambda one: (one.queue, one.origin, one.status),
            )
        )

    def _status(self, tx: Transaction, queue: str, found: _Lane) -> QueueStatus:
        more = {state for state in _STATES if found.counts[state] > self._limit}
        return QueueStatus(
            queue=queue,
            **{state: min(found.counts[state], self._limit) for state in _STATES},
            oldest_due_seconds=0.0 if found.since_at is None else max(0.0, to_seconds(tx.now_at - found.since_at)),
            at_least=tuple(state for state in _STATES if state in more | found.at_least),
        )

    def _lanes(self, tx: Transaction) -> dict[int, _Lane]:
        lanes: dict[int, _Lane] = defaultdict(_Lane)
        for lane, usual, first in tx.connection.execute(self._first).all():
            if first is not None:
                lanes[lane].waits_since(usual)
                lanes[lane].waits_since(replayed_at(first) if first < 0 else None)
        for state, table in (("ready", self._schema.ready), ("dead", self._schema.dead)):
            for lane, count in self._counts(tx, table).items():
                lanes[lane].counts[state] = count
        # These are only as many as dispatchers hold.
        for lane, count in tx.connection.execute(self._leased):
            lanes[lane].counts["leased"] = count
        self._add_scheduled(tx, lanes)
        return lanes

    def _add_scheduled(self, tx: Transaction, lanes: dict[int, _Lane]) -> None:
        """Add scheduled messages. Those that fell due while no dispatcher was running count as ready."""
        now, limit = {"now_at": tx.now_at}, self._limit
        rows = tx.connection.execute(self._due, now).all()
        due = {lane: count for lane, count, _ in rows}
        later = {lane: count for lane, count, _ in tx.connection.execute(self._later, now)}
        for lane, _, first_due_at in rows:
            lanes[lane].waits_since(first_due_at)
        all_due, all_later = sum(due.values()) <= limit, sum(later.values()) <= limit
        # If the earliest of all lanes do not include all of a lane, the counts of the others give the rest.
        totals = {} if all_due and all_later else self._counts(tx, self._schema.scheduled)
        for lane in {*due, *later, *totals}:
            is_due, is_later, total = due.get(lane, 0), later.get(lane, 0), totals.get(lane, 0)
            if all_later and not all_due:
                is_due = max(is_due, total - is_later)
            elif all_due and not all_later:
                is_later = max(is_later, total - is_due)
            lanes[lane].counts["ready"] += is_due
            lanes[lane].counts["scheduled"] += is_later
            if not all_due and (total > limit or not all_later):
                lanes[lane].at_least.add("ready")
            if not all_later and (total > limit or not all_due):
                lanes[lane].at_least.add("scheduled")

    def _counts(self, tx: Transaction, table: Table) -> dict[int, int]:
        """Count lane by lane to beyond the limit, in each query as many lanes as fit."""
        counts: dict[int, int] = {}
        from_lane = 0
        while True:
            rows = tx.connection.execute(self._lane_counts[table], {"from_lane": from_lane})
            counted = {row[0]: row[1] for row in rows}
            counts |= counted
            if sum(counted.values()) <= self._limit:
                return counts
            # The last lane may continue: it is counted again from its start, unless it filled the query alone.
            from_lane = max(counted) + (1 if len(counted) == 1 else 0)

    def _dispatchers(self, tx: Transaction) -> tuple[DispatcherStatus, ...]:
        table, leased = self._schema.dispatchers, self._schema.leased
        holds = select(func.count()).where(leased.c.owner == table.c.owner).scalar_subquery()
        statement = select(table, holds.label("leased")).order_by(table.c.started_at)
        found = []
        for row in tx.connection.execute(statement).mappings():
            seen_seconds = max(0.0, to_seconds(tx.now_at - row["seen_at"]))
            found.append(
                DispatcherStatus(
                    owner=row["owner"],
                    name=row["name"],
                    version=row["version"],
                    seen_seconds=seen_seconds,
                    leased=row["leased"],
                    alive=is_alive(seen_seconds, row["leased"]),
                    held=held_of(row["held"], tx.now_at),
                )
            )
        return tuple(found)

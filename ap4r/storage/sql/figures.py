"""status: the figures a person asks for, at a cost that does not grow with the backlog."""

from __future__ import annotations

from collections import Counter, defaultdict

from sqlalchemy import Table, bindparam, case, func, select

from ap4r.judgement import UNAUTHORISED
from ap4r.storage.sql.dispatchers import held_of
from ap4r.storage.sql.plans import by_primary_key
from ap4r.storage.sql.rows import replayed_at
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.transaction import Transaction, to_seconds
from ap4r.storage.store import COUNT_LIMIT, DispatcherStatus, QueueStatus, StoreStatus, TurnedAway

#: An idle dispatcher beats each 30 s; one not seen for longer is taken for dead here. Whoever rescues measures better.
_ALIVE_SECONDS = 45.0
#: So many of the messages that wait for their time are looked at for answers that speak of settings.
_LOOKED_AT = 1_000


class _Lane:
    """The figures of one lane. `since_at` is when that fell due which waits longest."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.since_at: int | None = None

    def waits_since(self, instant: int | None) -> None:
        if instant is not None and (self.since_at is None or instant < self.since_at):
            self.since_at = instant


class Figures:
    """Reads counts, ages and dispatchers."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        ready, lanes, scheduled = schema.ready, schema.lanes, schema.scheduled
        # The first of those that were put back, if there are any, and the first by itself. Not min(), for which MySQL
        # would read the whole lane.
        in_lane = select(ready.c.position).where(ready.c.lane == lanes.c.id).order_by(ready.c.position).limit(1)
        first_of_all = in_lane.scalar_subquery().label("first")
        usual = in_lane.where(ready.c.position >= 0).scalar_subquery().label("usual")
        self._first = select(lanes.c.id, usual, first_of_all)
        some = (
            by_primary_key(select(ready.c.lane).where(ready.c.lane >= bindparam("from_lane")), ready)
            .order_by(ready.c.lane, ready.c.position, ready.c.id)
            .limit(COUNT_LIMIT)
            .subquery()
        )
        self._ready_counts = select(some.c.lane, func.count()).group_by(some.c.lane)
        first = select(scheduled.c.lane, scheduled.c.due_at).order_by(scheduled.c.due_at).limit(COUNT_LIMIT).subquery()
        due = func.sum(case((first.c.due_at <= bindparam("now_at"), 1), else_=0))
        # Of those that are made again next, the last attempts whose answer speaks of a server's settings.
        next_ones = (
            select(scheduled.c.id, scheduled.c.lane, scheduled.c.attempt)
            .order_by(scheduled.c.due_at)
            .limit(_LOOKED_AT)
            .subquery()
        )
        attempts = schema.attempts
        self._turned_away = (
            select(next_ones.c.lane, attempts.c.status, func.count())
            .join(attempts, (attempts.c.id == next_ones.c.id) & (attempts.c.attempt == next_ones.c.attempt))
            .where(next_ones.c.attempt > 0, attempts.c.status.in_(sorted(UNAUTHORISED)))
            .group_by(next_ones.c.lane, attempts.c.status)
        )
        self._scheduled = select(first.c.lane, func.count(), due, func.min(first.c.due_at)).group_by(first.c.lane)

    def read(self, tx: Transaction) -> StoreStatus:
        """Give the figures of every queue that holds a message, and every dispatcher."""
        lanes = self._lanes(tx)
        queues: dict[str, _Lane] = defaultdict(_Lane)
        for lane, (queue, _) in tx.lanes.names_of(tx, lanes.keys()).items():
            queues[queue].counts += lanes[lane].counts
            queues[queue].waits_since(lanes[lane].since_at)
        figures = tuple(
            QueueStatus(
                queue=queue,
                **{state: min(found.counts[state], COUNT_LIMIT) for state in ("ready", "scheduled", "leased", "dead")},
                oldest_due_seconds=0.0 if found.since_at is None else max(0.0, to_seconds(tx.now_at - found.since_at)),
            )
            for queue, found in sorted(queues.items())
        )
        oldest_seconds = max((queue.oldest_due_seconds for queue in figures), default=0.0)
        return StoreStatus(figures, self._dispatchers(tx), oldest_seconds, self._read_turned_away(tx))

    def _read_turned_away(self, tx: Transaction) -> tuple[TurnedAway, ...]:
        found = [(lane, status, count) for lane, status, count in tx.connection.execute(self._turned_away)]
        names = tx.lanes.names_of(tx, {lane for lane, _, _ in found}) if found else {}
        return tuple(
            sorted(
                (TurnedAway(*names[lane], status, count) for lane, status, count in found if lane in names),
                key=lambda one: (one.queue, one.origin, one.status),
            )
        )

    def _lanes(self, tx: Transaction) -> dict[int, _Lane]:
        lanes: dict[int, _Lane] = defaultdict(_Lane)
        for lane, usual, first in tx.connection.execute(self._first).all():
            if first is not None:
                lanes[lane].waits_since(usual)
                lanes[lane].waits_since(replayed_at(first) if first < 0 else None)
        for lane, count in self._counts_of_ready(tx).items():
            lanes[lane].counts["ready"] = count
        # What fell due while no dispatcher lived to notice is ready all the same.
        for lane, count, due, first_due_at in tx.connection.execute(self._scheduled, {"now_at": tx.now_at}):
            lanes[lane].counts["ready"] += int(due)
            lanes[lane].counts["scheduled"] += count - int(due)
            lanes[lane].waits_since(first_due_at if due else None)
        for state, table in (("leased", self._schema.leased), ("dead", self._schema.dead)):
            for lane, count in _bounded_counts(tx, table):
                lanes[lane].counts[state] = count
        return lanes

    def _counts_of_ready(self, tx: Transaction) -> dict[int, int]:
        """Count lane by lane up to the limit, as many lanes in one query as there is room for."""
        counts: dict[int, int] = {}
        from_lane = 0
        while True:
            rows = tx.connection.execute(self._ready_counts, {"from_lane": from_lane})
            counted = {row[0]: row[1] for row in rows}
            counts |= counted
            if sum(counted.values()) < COUNT_LIMIT:
                return counts
            # The last lane may go on: it is counted anew from its beginning, unless it has filled the query alone.
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
                    alive=seen_seconds < _ALIVE_SECONDS,
                    held=held_of(row["held"], tx.now_at),
                )
            )
        return tuple(found)


def _bounded_counts(tx: Transaction, table: Table) -> list[tuple[int, int]]:
    some = select(table.c.lane).limit(COUNT_LIMIT).subquery()
    statement = select(some.c.lane, func.count()).group_by(some.c.lane)
    return [(lane, count) for lane, count in tx.connection.execute(statement)]

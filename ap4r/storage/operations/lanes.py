"""The directory of lanes: a small number for each pair of queue and origin, so that frequent rows stay narrow.

A server never uses a number twice, so what a process remembers can become unused but not wrong. When another server
takes over, which may not know the last numbers, what was learnt from the previous one is checked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Select, Table, bindparam, func, select

from ap4r.errors import StoreUnavailable
from ap4r.storage.access.statements import as_committed
from ap4r.storage.databases.database import Database, RolledBack
from ap4r.storage.schema.tables import Schema

MAX_LANES = 100_000
_MINUTE, _HOUR = 60 * 1_000_000, 3_600 * 1_000_000
#: An unused lane is deleted after a week; writers mark those they use once an hour, claims once a day.
UNUSED_AFTER, _MARK_INTERVAL = 7 * 24 * _HOUR, 24 * _HOUR
#: A lane becomes known at once if the transaction that created it ends within this time, else within this time.
_TRANSACTION_SECONDS = 60.0
LaneName = tuple[str, str]


class LaneTransaction(Protocol):
    """What the directory uses of an open transaction (`ap4r.storage.access.transaction`)."""

    store: str
    connection: Connection
    database: Database
    after_commit: list[Callable[[], None]]

    @property
    def now_at(self) -> int:
        """The store's clock in microseconds."""

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT that leaves an existing row alone."""

    def delete(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Delete rows by key; return their number."""


class _Known(NamedTuple):
    """A lane's number, when it was marked as used and last seen, and over which connection of the process."""

    lane: int
    used_at: int
    seen_at: int
    connections: int


class Lanes:
    """One process's knowledge of a database's directory. Shared by threads; only whole entries are ever written.

    What a transaction changed becomes known after its commit: a rollback removes new lanes, and their numbers are
    then given to others.
    """

    def __init__(self, schema: Schema) -> None:
        self._table = table = schema.lanes
        self._mark = table.update().where(table.c.id == bindparam("b_id")).values(used_at=bindparam("b_used_at"))
        numbered = table.c.id.in_(bindparam("b_ids", expanding=True))
        self._held = as_committed(select(table.c.id).where(numbered))
        self._unmarked = (
            select(table.c.id, table.c.used_at)
            .where(numbered, table.c.used_at < bindparam("b_before"))
            .with_for_update(skip_locked=True)
        )
        self._taken: dict[int, int] = {}  # when they were last claimed from
        named = table.c.queue.in_(bindparam("b_queues", expanding=True))
        self._find = select(table.c.id, table.c.queue, table.c.origin).where(named)
        self._count = select(func.count()).select_from(table)
        self._last = select(func.max(table.c.id))
        self._rows = select(table.c.id, table.c.queue, table.c.origin).where(numbered)
        self._ids: dict[LaneName, _Known] = {}
        self._names: dict[int, LaneName] = {}
        #: The numbers of all lanes, sorted, and of which state: adding or removing one begins another state.
        self._numbers: tuple[int, list[int]] = (0, [])
        self._states = count(1)
        self._state = 0
        #: The highest number found by the last reading of all, that of the previous one, and its time (monotonic).
        self._highest, self._read_up_to, self._read_all_at = 0, 0, float("-inf")

    @property
    def full(self) -> bool:
        """Whether most of what is known must be unused by now, so that the cache should be rebuilt."""
        return max(len(self._ids), len(self._names)) > 2 * MAX_LANES

    def ids_of(self, tx: LaneTransaction, names: Iterable[LaneName]) -> dict[LaneName, int]:
        """Return the numbers of lanes; create those that are new."""
        found: dict[LaneName, int] = {}
        due: list[LaneName] = []
        for name in sorted(set(names)):
            known = self._known(tx, name)
            if known is None:
                due.append(name)
            else:
                found[name] = known
        if due:
            seen = self._seen_now(tx, due)
            found |= {name: known.lane for name, known in seen.items()}
            due = [name for name in due if name not in seen]
        if due:
            marked = self._mark_used(tx, due)
            found |= marked
            now_at, connections = tx.now_at, tx.database.connections
            learnt = {name: _Known(lane, now_at, now_at, connections) for name, lane in marked.items()}
            tx.after_commit.append(partial(self._learn, learnt))
        return found

    def id_of(self, tx: LaneTransaction, name: LaneName) -> int:
        """Return the number of one lane, as `ids_of` does."""
        known = self._known(tx, name)
        return self.ids_of(tx, [name])[name] if known is None else known

    def names_of(self, tx: LaneTransaction, ids: Collection[int]) -> dict[int, LaneName]:
        """Return queue and origin by number; unknown numbers are omitted."""
        missing = [lane for lane in ids if lane not in self._names]
        found = self._read(tx, missing)
        self._remember(found)
        for lane in ids:
            name = self._names.get(lane)
            if name is not None:
                found[lane] = name
        return found

    def next_to_read(self) -> int:
        """Return the number after which lanes have to be read: usually those added lately, sometimes 0 for all.

        Not only those with a higher number than all before: of two transactions the one with the lower number may end
        later, and an application may keep one open for as long as it likes.
        """
        return 0 if time.monotonic() - self._read_all_at > _TRANSACTION_SECONDS else self._read_up_to

    def with_added(self, found: Mapping[int, LaneName], behind: int) -> list[int]:
        """Remember the lanes that were read, all those after a number, and return the numbers of all, sorted.

        The same list is returned as long as they are the same.
        """
        self._remember(found)
        if not behind:
            self._read_up_to, self._highest = self._highest, max(found, default=0)
            self._read_all_at = time.monotonic()
        state, numbers = self._numbers
        if state != self._state:
            state = self._state
            numbers = sorted(list(self._names))  # noqa: C414 - other threads may add to it meanwhile
            self._numbers = (state, numbers)
        return numbers

    def remove(self, tx: LaneTransaction, ids: Collection[int]) -> None:
        """Delete unused lanes."""
        tx.delete(self._table, [{"id": lane} for lane in ids])
        tx.after_commit.append(partial(self._forget, ids))

    def take(self, tx: LaneTransaction, ids: Iterable[int]) -> None:
        """Record that messages of these lanes were claimed."""
        tx.after_commit.append(partial(self._taken.update, dict.fromkeys(ids, tx.now_at)))

    def mark_taken(self, tx: LaneTransaction) -> None:
        """Mark the lanes of all claims since the last time as used: applications that use them may not mark them."""
        taken = dict(self._taken)
        lanes = sorted(taken)
        for start in range(0, len(lanes), 500):
            values = {"b_ids": lanes[start : start + 500], "b_before": tx.now_at - _MARK_INTERVAL}
            # A locked one is being used, or marked; its turn comes when it is claimed from again.
            marks = [
                {"b_id": lane, "b_used_at": taken[lane]}
                for lane, used_at in tx.connection.execute(self._unmarked, values)
                if taken[lane] - used_at > _MARK_INTERVAL
            ]
            if marks:
                tx.connection.execute(self._mark, marks)
        if taken:
            tx.after_commit.append(self._taken.clear)

    def mark(self, tx: LaneTransaction, found: Mapping[LaneName, int]) -> dict[LaneName, int]:
        """Mark found lanes as used, so that they stay; return those that were not deleted meanwhile."""
        marks = [{"b_id": lane, "b_used_at": tx.now_at} for lane in sorted(found.values())]
        if marks and tx.connection.execute(self._mark, marks).rowcount != len(marks):
            return self._still_there(tx, found)
        return dict(found)

    def _still_there(self, tx: LaneTransaction, found: Mapping[LaneName, int]) -> dict[LaneName, int]:
        # By number: a locking read of a name that does not exist would lock the gap for all who create one.
        numbers = {"b_ids": sorted(found.values())}
        held = set(tx.connection.execute(self._held, numbers).scalars()) if found else set()
        return {name: lane for name, lane in found.items() if lane in held}

    def _read(self, tx: LaneTransaction, ids: Sequence[int]) -> dict[int, LaneName]:
        found: dict[int, LaneName] = {}
        for start in range(0, len(ids), 500):
            for lane, queue, origin in tx.connection.execute(self._rows, {"b_ids": ids[start : start + 500]}):
                found[lane] = (queue, origin)
        return found

    def _known(self, tx: LaneTransaction, name: LaneName) -> int | None:
        """Return the number of a lane that was marked as used within the hour and seen just now; else None."""
        known = self._ids.get(name)
        if known is None or tx.now_at - known.used_at > _HOUR:
            return None
        return known.lane if self._was_seen_here(tx, known) else None

    def _was_seen_here(self, tx: LaneTransaction, known: _Known) -> bool:
        # A new connection may lead to a server that replaced another one and lacks its last changes; behind a proxy
        # not even the connection is new.
        return known.connections == tx.database.connections and tx.now_at - known.seen_at <= _MINUTE

    def _seen_now(self, tx: LaneTransaction, names: Sequence[LaneName]) -> dict[LaneName, _Known]:
        """Return those lanes that were marked within the hour and still have the same number."""
        marked = {
            name: known for name in names if (known := self._ids.get(name)) and tx.now_at - known.used_at <= _HOUR
        }
        if not marked:
            return {}
        # By number: a queue may have thousands of origins.
        there = self._read(tx, [known.lane for known in marked.values()])
        seen = {
            name: known._replace(seen_at=tx.now_at, connections=tx.database.connections)
            for name, known in marked.items()
            if there.get(known.lane) == name
        }
        tx.after_commit.append(partial(self._learn, seen))
        return seen

    def _learn(self, learnt: Mapping[LaneName, _Known]) -> None:
        for name, known in learnt.items():
            self._ids[name] = known
        self._remember({known.lane: name for name, known in learnt.items()})

    def _remember(self, found: Mapping[int, LaneName]) -> None:
        is_new = not found.keys() <= self._names.keys()
        self._names.update(found)
        if is_new:
            # After the change, or a reader would consider the previous content to be the new state.
            self._state = next(self._states)

    def _forget(self, ids: Collection[int]) -> None:
        for lane in ids:
            name = self._names.pop(lane, None)
            if name is not None:
                self._ids.pop(name, None)
        self._state = next(self._states)

    def _mark_used(self, tx: LaneTransaction, names: Sequence[LaneName]) -> dict[LaneName, int]:
        """Return the numbers of lanes; mark existing ones and create new ones."""
        found = self.mark(tx, self._found(tx, names))
        missing = [name for name in names if name not in found]
        if missing:
            self._make(tx, missing)
            found |= self._found(tx, missing)
            if len(found) < len(names):
                # Another transaction that created one at the same time was rolled back, or a lane was just deleted.
                raise RolledBack(tx.store, "its lanes changed meanwhile")
        return found

    def _make(self, tx: LaneTransaction, names: Sequence[LaneName]) -> None:
        self._check_room(tx, len(names))
        rows = [{"queue": queue, "origin": origin, "used_at": tx.now_at} for queue, origin in names]
        tx.connection.execute(tx.insert_new(self._table), rows)

    def _found(
        self, tx: LaneTransaction, names: Sequence[LaneName], find: Select[Any] | None = None
    ) -> dict[LaneName, int]:
        statement = self._find if find is None else find
        wanted, found = set(names), {}
        for start in range(0, len(names), 500):
            queues = [queue for queue, _ in names[start : start + 500]]
            for lane, queue, origin in tx.connection.execute(statement, {"b_queues": queues}):
                if (queue, origin) in wanted:
                    found[queue, origin] = lane
        return found

    def _check_room(self, tx: LaneTransaction, wanted: int) -> None:
        if (tx.connection.execute(self._last).scalar() or 0) + wanted <= MAX_LANES:
            return
        count = tx.connection.execute(self._count).scalar_one()
        if count + wanted > MAX_LANES:
            problem = f"{count:,} queue names are in use, of at most {MAX_LANES:,}; use fewer different names"
            raise StoreUnavailable(tx.store, problem)

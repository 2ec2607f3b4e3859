"""The directory of lanes: a small number for each pair of queue and origin, so that hot rows stay narrow.

Numbers are never used twice, so what a process remembers can go out of use but never become wrong.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, bindparam, func, literal, select

from ap4r.errors import StoreUnavailable
from ap4r.storage.sql.database import RolledBack
from ap4r.storage.sql.plans import as_committed

if TYPE_CHECKING:
    from ap4r.storage.sql.schema import Schema
    from ap4r.storage.sql.transaction import Transaction

MAX_LANES = 100_000
_HOUR = 3_600 * 1_000_000
#: An unused lane is forgotten after a week; writers mark those they use once an hour.
UNUSED_AFTER = 7 * 24 * _HOUR
#: A lane becomes known at once when the transaction that made it ends within this time, later once in this time.
_TRANSACTION_SECONDS = 60.0
LaneName = tuple[str, str]


class Lanes:
    """What one process knows of one database's directory. Shared by threads; only whole entries are ever written.

    What a transaction has changed becomes known after its commit: a rollback takes new lanes with it, and their
    numbers are then given to others.
    """

    def __init__(self, schema: Schema) -> None:
        self._table = table = schema.lanes
        self._mark = table.update().where(table.c.id == bindparam("b_id")).values(used_at=bindparam("b_used_at"))
        named = table.c.queue.in_(bindparam("b_queues", expanding=True))
        self._find = select(table.c.id, table.c.queue, table.c.origin).where(named)
        self._count = select(func.count()).select_from(table)
        self._last = select(func.max(table.c.id))
        self._rows = select(table.c.id, table.c.queue, table.c.origin)
        self._ids: dict[LaneName, tuple[int, int]] = {}
        self._names: dict[int, LaneName] = {}
        #: The highest number that the last reading of all has found, that of the one before, and when (monotonic).
        self._highest, self._read_up_to, self._read_all_at = 0, 0, float("-inf")

    @property
    def full(self) -> bool:
        """Whether most of what is known must have gone out of use, so that it is time to begin anew."""
        return max(len(self._ids), len(self._names)) > 2 * MAX_LANES

    def ids_of(self, tx: Transaction, names: Iterable[LaneName]) -> dict[LaneName, int]:
        """Give the numbers of lanes, making those that are new."""
        found: dict[LaneName, int] = {}
        due: list[LaneName] = []
        for name in sorted(set(names)):
            known = self._known(tx, name)
            if known is None:
                due.append(name)
            else:
                found[name] = known
        if due:
            marked = self._mark_used(tx, due)
            found |= marked
            tx.after_commit.append(partial(self._learn, marked, tx.now_at))
        return found

    def id_of(self, tx: Transaction, name: LaneName) -> int:
        """Give the number of one lane, as `ids_of` does."""
        known = self._known(tx, name)
        return self.ids_of(tx, [name])[name] if known is None else known

    def names_of(self, tx: Transaction, ids: Collection[int]) -> dict[int, LaneName]:
        """Give queue and origin by number; what does not exist is left out."""
        missing = [lane for lane in ids if lane not in self._names]
        found: dict[int, LaneName] = {}
        for start in range(0, len(missing), 500):
            statement = self._rows.where(self._table.c.id.in_(missing[start : start + 500]))
            for lane, queue, origin in tx.connection.execute(statement):
                found[lane] = (queue, origin)
        self._names.update(found)
        for lane in ids:
            name = self._names.get(lane)
            if name is not None:
                found[lane] = name
        return found

    def next_to_read(self) -> int:
        """Give the number behind which lanes are to be read to know all: mostly those added lately, all now and then.

        Not only those with a higher number than all before: of two transactions the one with the lower may end later,
        and an application may keep one open for as long as it likes.
        """
        return 0 if time.monotonic() - self._read_all_at > _TRANSACTION_SECONDS else self._read_up_to

    def with_added(self, found: Mapping[int, LaneName], behind: int) -> list[int]:
        """Learn the lanes that were read, all those behind a number, and give the numbers of all."""
        self._names.update(found)
        if not behind:
            self._read_up_to, self._highest = self._highest, max(found, default=0)
            self._read_all_at = time.monotonic()
        return list(self._names)

    def remove(self, tx: Transaction, ids: Collection[int]) -> None:
        """Delete lanes that nothing uses."""
        tx.delete(self._table, [{"id": lane} for lane in ids])
        tx.after_commit.append(partial(self._forget, ids))

    def used_since(self, tx: Transaction, names: Sequence[LaneName], since: int) -> dict[LaneName, int]:
        """Give the numbers of those lanes that were used since an instant. Locks nothing."""
        return self._found(tx, names, self._find.where(self._table.c.used_at > since))

    def kept(self, tx: Transaction, names: Sequence[LaneName]) -> dict[LaneName, int]:
        """Give the numbers of lanes, making those that are new, and keep all until the end, by locks that are shared.

        :raises StoreUnavailable: they came and went meanwhile.
        """
        # Rows are locked by number: looking for a name that is not there would lock the gap for all who make one.
        found = self._found(tx, names)
        numbers = select(self._table.c.id).where(self._table.c.id.in_(sorted(found.values())))
        held = set(tx.connection.execute(as_committed(numbers)).scalars()) if found else set()
        found = {name: lane for name, lane in found.items() if lane in held}
        missing = [name for name in names if name not in found]
        if missing:
            self._make(tx, missing)
            found |= self._found(tx, missing)
            unseen = [name for name in missing if name not in found]
            if unseen:
                # Made by others since this transaction took its snapshot, past which only a lock lets look.
                found |= self._found(tx, unseen, as_committed(self._find))
        if len(found) < len(names):
            raise StoreUnavailable(tx.store, "its lanes changed meanwhile; try again")
        return found

    def _known(self, tx: Transaction, name: LaneName) -> int | None:
        """Give the number of a lane that was marked as used within the hour; None where nothing is known of it."""
        known = self._ids.get(name)
        return None if known is None or tx.now_at - known[1] > _HOUR else known[0]

    def _learn(self, ids: Mapping[LaneName, int], used_at: int) -> None:
        for name, lane in ids.items():
            self._ids[name] = (lane, used_at)
            self._names[lane] = name

    def _forget(self, ids: Collection[int]) -> None:
        for lane in ids:
            name = self._names.pop(lane, None)
            if name is not None:
                self._ids.pop(name, None)

    def _mark_used(self, tx: Transaction, names: Sequence[LaneName]) -> dict[LaneName, int]:
        """Give the numbers of lanes, marking those that there are and making those that are new."""
        found = self._found(tx, names)
        marks = [{"b_id": lane, "b_used_at": tx.now_at} for lane in sorted(found.values())]
        if marks and tx.connection.execute(self._mark, marks).rowcount != len(marks):
            # Some were forgotten by others just now. Those that are left are locked, so that they stay.
            found = self._found(tx, names)
        missing = [name for name in names if name not in found]
        if missing:
            self._make(tx, missing)
            found |= self._found(tx, missing)
            if len(found) < len(names):
                # Whoever made one at the same time has undone it, or a lane was forgotten just now.
                raise RolledBack(tx.store, "its lanes changed meanwhile")
        return found

    def _make(self, tx: Transaction, names: Sequence[LaneName]) -> None:
        self._check_room(tx, len(names))
        rows = [{"queue": queue, "origin": origin, "used_at": tx.now_at} for queue, origin in names]
        tx.connection.execute(tx.insert_new(self._table), rows)

    def _found(
        self, tx: Transaction, names: Sequence[LaneName], find: Select[Any] | None = None
    ) -> dict[LaneName, int]:
        statement = self._find if find is None else find
        wanted, found = set(names), {}
        for start in range(0, len(names), 500):
            queues = [queue for queue, _ in names[start : start + 500]]
            for lane, queue, origin in tx.connection.execute(statement, {"b_queues": queues}):
                if (queue, origin) in wanted:
                    found[queue, origin] = lane
        return found

    def _check_room(self, tx: Transaction, wanted: int) -> None:
        if (tx.connection.execute(self._last).scalar() or 0) + wanted <= MAX_LANES:
            return
        count = tx.connection.execute(self._count).scalar_one()
        if count + wanted > MAX_LANES:
            problem = f"{count:,} queue names are in use, of {MAX_LANES:,} there can be; use fewer different names"
            raise StoreUnavailable(tx.store, problem)


def unused_lanes(tx: Transaction, limit: int) -> list[int]:
    """Find and lock up to `limit` lanes that nobody has used for a week and that hold no message."""
    schema, lanes = tx.schema, tx.schema.lanes
    statement = select(lanes.c.id).where(lanes.c.used_at < bindparam("before")).limit(limit)
    for table in (schema.ready, schema.scheduled, schema.leased, schema.dead):
        # Not NOT EXISTS: MySQL would read the whole table at once instead of looking for one row.
        something = select(literal(1)).where(table.c.lane == lanes.c.id).limit(1).scalar_subquery()
        statement = statement.where(something.is_(None))
    # Whoever begins to use one of them waits, and then finds it gone; one that is being marked is left alone.
    statement = statement.with_for_update(skip_locked=True, of=lanes)
    return list(tx.connection.execute(statement, {"before": tx.now_at - UNUSED_AFTER}).scalars())

"""The directory of lanes: a small number for each pair of queue and origin, so that hot rows stay narrow.

Numbers are never used twice, so what a process remembers can go out of use but never become wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from ap4r.errors import StoreUnavailable

if TYPE_CHECKING:
    from ap4r.storage.sql.schema import Schema
    from ap4r.storage.sql.transaction import Transaction

MAX_LANES = 100_000
_HOUR = 3_600 * 1_000_000
#: An unused lane is forgotten after a week; writers mark those they use once an hour.
UNUSED_AFTER = 7 * 24 * _HOUR
LaneName = tuple[str, str]


class Lanes:
    """What one process knows of one database's directory. Shared by threads; only whole entries are ever written.

    What a transaction has changed becomes known after its commit: a rollback takes new lanes with it, and their
    numbers are then given to others.
    """

    def __init__(self, schema: Schema) -> None:
        self._table = table = schema.lanes
        same = (table.c.queue == bindparam("b_queue")) & (table.c.origin == bindparam("b_origin"))
        self._mark = table.update().where(same).values(used_at=bindparam("b_used_at"))
        self._find = select(table.c.id).where(same)
        self._count = select(func.count()).select_from(table)
        self._last = select(func.max(table.c.id))
        self._rows = select(table.c.id, table.c.queue, table.c.origin)
        self._added = self._rows.where(table.c.id > bindparam("b_read_up_to"))
        self._delete = table.delete().where(table.c.id == bindparam("b_id"))
        self._ids: dict[LaneName, tuple[int, int]] = {}
        self._names: dict[int, LaneName] = {}
        self._read_up_to = 0

    @property
    def full(self) -> bool:
        """Whether most of what is known must have gone out of use, so that it is time to begin anew."""
        return max(len(self._ids), len(self._names)) > 2 * MAX_LANES

    def ids_of(self, tx: Transaction, names: Iterable[LaneName]) -> dict[LaneName, int]:
        """Give the numbers of lanes, making those that are new."""
        found: dict[LaneName, int] = {}
        marked: dict[LaneName, int] = {}
        for name in set(names):
            known = self._ids.get(name)
            if known is None or tx.now_at - known[1] > _HOUR:
                marked[name] = found[name] = self._mark_used(tx, name)
            else:
                found[name] = known[0]
        if marked:
            tx.after_commit.append(partial(self._learn, marked, tx.now_at))
        return found

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

    def known(self, tx: Transaction) -> list[int]:
        """Give the numbers of all lanes, reading only those that were added since the last time."""
        rows = tx.connection.execute(self._added, {"b_read_up_to": self._read_up_to})
        found = {lane: (queue, origin) for lane, queue, origin in rows}
        if found:
            self._names.update(found)
            self._read_up_to = max(self._read_up_to, *found)
        return list(self._names)

    def remove(self, tx: Transaction, ids: Collection[int]) -> None:
        """Delete lanes that nothing uses."""
        tx.connection.execute(self._delete, [{"b_id": lane} for lane in ids])
        tx.after_commit.append(partial(self._forget, ids))

    def _learn(self, ids: Mapping[LaneName, int], used_at: int) -> None:
        for name, lane in ids.items():
            self._ids[name] = (lane, used_at)
            self._names[lane] = name

    def _forget(self, ids: Collection[int]) -> None:
        for lane in ids:
            name = self._names.pop(lane, None)
            if name is not None:
                self._ids.pop(name, None)

    def _mark_used(self, tx: Transaction, name: LaneName) -> int:
        queue, origin = name
        same = {"b_queue": queue, "b_origin": origin}
        marked = tx.connection.execute(self._mark, {**same, "b_used_at": tx.now_at}).rowcount
        if not marked:
            self._check_room(tx)
            row = {"queue": queue, "origin": origin, "used_at": tx.now_at}
            tx.connection.execute(tx.insert_new(self._table), row)
        return int(tx.connection.execute(self._find, same).scalar_one())

    def _check_room(self, tx: Transaction) -> None:
        if (tx.connection.execute(self._last).scalar() or 0) < MAX_LANES:
            return
        count = tx.connection.execute(self._count).scalar_one()
        if count >= MAX_LANES:
            problem = f"{count:,} queue names are in use, the most there can be; use fewer different names"
            raise StoreUnavailable(tx.store, problem)


def unused_lanes(tx: Transaction, limit: int) -> list[int]:
    """Find up to `limit` lanes that nobody has used for a week and that hold no message."""
    schema, lanes = tx.schema, tx.schema.lanes
    statement = select(lanes.c.id).where(lanes.c.used_at < bindparam("before")).limit(limit)
    for table in (schema.ready, schema.scheduled, schema.leased, schema.dead):
        statement = statement.where(~select(1).where(table.c.lane == lanes.c.id).exists())
    return list(tx.connection.execute(statement, {"before": tx.now_at - UNUSED_AFTER}).scalars())

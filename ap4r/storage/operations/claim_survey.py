"""What a claim reads before it chooses, in one round trip: the store's clock, the next due time, the lanes, and whether
its dispatcher is still registered."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, literal_column, null, select, union_all

from ap4r.errors import OwnerLost
from ap4r.storage.access.statements import Compiled, by_primary_key
from ap4r.storage.access.transaction import Transaction
from ap4r.storage.schema.tables import Schema

_LANE, _DUE, _CLOCK, _OWNER = range(4)


class Survey(NamedTuple):
    """The result. `next_due_at` is the due time of the first scheduled message; `lanes` are all lanes."""

    next_due_at: int | None
    lanes: list[int]


class Surveys:
    """Reads surveys."""

    def __init__(self, schema: Schema) -> None:
        lanes, scheduled, dispatchers = schema.lanes, schema.scheduled, schema.dispatchers
        self._parts: list[Any] = [
            select(literal_column(str(_LANE)), lanes.c.id, lanes.c.queue, lanes.c.origin).where(
                lanes.c.id > bindparam("behind")
            ),
            select(literal_column(str(_DUE)), func.min(scheduled.c.due_at), null(), null()).where(
                scheduled.c.due_at >= bindparam("begin")
            ),
        ]
        own = select(dispatchers.c.beat).where(dispatchers.c.owner == bindparam("owner")).with_for_update()
        kept = by_primary_key(own, dispatchers).subquery("own")
        self._kept = select(literal_column(str(_OWNER)), kept.c.beat, null(), null())
        self._compiled: dict[tuple[str | None, bool], Compiled] = {}

    def read(self, tx: Transaction, begin: int, owner: str | None) -> Survey:
        """Read a survey, and remember the clock and the lanes.

        :param begin: the due time from which scheduled messages are searched.
        :param owner: a dispatcher that must not be considered dead until the transaction has ended; None for none.
        :raises OwnerLost: it was already considered dead and removed.
        """
        behind = tx.lanes.next_to_read()
        next_due_at: int | None = None
        added: dict[int, tuple[str, str]] = {}
        is_known = owner is None
        wanted = {"behind": behind, "begin": begin, "owner": owner}
        found = tx.rows(self._of(tx.clock_sql, owner is not None), wanted)
        for kind, number, queue, origin in found:
            if kind == _LANE:
                added[number] = (_text(queue), _text(origin))
            elif kind == _DUE:
                next_due_at = number
            elif kind == _CLOCK:
                tx.known_now_at = number
            else:
                is_known = True
        if not is_known:
            raise OwnerLost(owner or "")
        return Survey(next_due_at, tx.lanes.with_added(added, behind))

    def _of(self, clock_sql: str | None, keeps_owner: bool) -> Compiled:
        compiled = self._compiled.get((clock_sql, keeps_owner))
        if compiled is None:
            parts = [*self._parts, self._kept] if keeps_owner else list(self._parts)
            if clock_sql is not None:
                parts.append(select(literal_column(str(_CLOCK)), literal_column(clock_sql), null(), null()))
            compiled = Compiled(union_all(*parts))
            self._compiled[clock_sql, keeps_owner] = compiled
        return compiled


def _text(stored: str | bytes) -> str:
    # MySQL stores names as bytes.
    return stored.decode() if isinstance(stored, bytes) else stored

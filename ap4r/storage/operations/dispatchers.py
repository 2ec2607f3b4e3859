"""The dispatchers of a store: register, beat, leave; and the look of an idle one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    String,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)

from ap4r.errors import OwnerLost
from ap4r.storage.access.statements import Compiled
from ap4r.storage.access.transaction import MICROSECONDS, Transaction, to_microseconds, to_seconds
from ap4r.storage.databases.mysql.galera import ClusterPartition
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import Beat, Held, Look

#: Doorbells of dispatchers that were not seen for this time are not rung. An idle one beats each 30 s.
_BELL_AGE = 60 * MICROSECONDS
#: The counter of an owner whose row is gone while leases still name it.
NO_BEAT = -1


class Dispatchers:
    """The dispatchers that deliver from this store."""

    def __init__(self, schema: Schema) -> None:
        table, ready, scheduled, leased = schema.dispatchers, schema.ready, schema.scheduled, schema.leased
        self._table = table
        self._beats: dict[str | None, Compiled] = {}
        self._owners = select(table.c.owner).order_by(table.c.owner)
        self._looks: dict[str | None, CompoundSelect[Any]] = {}
        self._bells = select(table.c.bell).where(table.c.bell != "", table.c.seen_at > bindparam("since"))
        holds = select(1).where(leased.c.owner == table.c.owner).exists()
        registered = select(1).where(table.c.owner == leased.c.owner).exists()
        no_text = cast(null(), String(255))
        self._look_parts: list[Any] = [
            select(literal("ready"), cast(func.min(ready.c.lane), BigInteger), no_text, no_text, literal(0)),
            select(literal("scheduled"), func.min(scheduled.c.due_at), no_text, no_text, literal(0)),
            select(literal("dispatcher"), table.c.beat, table.c.owner, table.c.bell, case((holds, 1), else_=0)),
            select(literal("orphan"), literal(NO_BEAT), leased.c.owner, literal(""), literal(1))
            .where(~registered)
            .distinct(),
        ]

    def register(self, tx: Transaction, owner: str, name: str, version: str, bell: str) -> None:
        """Add a dispatcher."""
        row: dict[str, Any] = {"owner": owner, "name": name[:255], "version": version, "bell": bell, "beat": 0}
        tx.connection.execute(tx.insert_new(self._table), {**row, "started_at": tx.now_at, "seen_at": tx.now_at})

    def beat(self, tx: Transaction, owner: str) -> None:
        """Advance the owner's counter.

        :raises OwnerLost: the dispatcher does not exist any more.
        """
        values = {"b_owner": owner} if tx.clock_sql is not None else {"b_owner": owner, "b_now_at": tx.now_at}
        if self._beat(tx.clock_sql).execute(tx.connection, values).rowcount == 0:
            raise OwnerLost(owner)

    def report_held(self, tx: Transaction, owner: str, held: Sequence[Held]) -> None:
        """Record what a dispatcher holds back, as instants of the store's clock."""
        rows = [
            [one.queue, one.origin, tx.now_at - to_microseconds(one.since_seconds),
             tx.now_at + to_microseconds(one.until_seconds), one.why]
            for one in held
        ]  # fmt: skip
        written = json.dumps(rows, separators=(",", ":")).encode() if rows else None
        table = self._table
        tx.connection.execute(table.update().where(table.c.owner == owner).values(held=written))

    def share(self, tx: Transaction, owner: str) -> ClusterPartition:
        """Return the owner's share of what all dispatchers claim."""
        owners = list(tx.connection.execute(self._owners).scalars())
        return ClusterPartition(owners.index(owner) if owner in owners else 0, max(1, len(owners)))

    def leave(self, tx: Transaction, owner: str) -> None:
        """Remove a dispatcher."""
        tx.connection.execute(self._table.delete().where(self._table.c.owner == owner))

    def stands_at(self, tx: Transaction, owner: str, beat: int) -> bool:
        """Return whether the owner's counter is still `beat` (or it is gone), and keep it until the end."""
        statement = select(self._table.c.beat).where(self._table.c.owner == owner).with_for_update()
        found = tx.connection.execute(statement).scalar()
        return found is None or found == beat

    def bells(self, tx: Transaction) -> list[str]:
        """Return the doorbells of the dispatchers seen lately."""
        return list(tx.connection.execute(self._bells, {"since": tx.now_at - _BELL_AGE}).scalars())

    def look(self, tx: Transaction) -> Look:
        """Read everything that an idle dispatcher needs, in one statement."""
        due, next_due_at, beats = False, None, []
        for kind, number, owner, bell, holds in tx.connection.execute(self._look(tx.clock_sql)):
            match kind:
                case "ready":
                    due = number is not None
                case "scheduled":
                    next_due_at = number
                case "clock":
                    tx.known_now_at = number
                case _:
                    beats.append(Beat(owner, number, bool(holds), bell))
        next_due = None if next_due_at is None else max(0.0, to_seconds(next_due_at - tx.now_at))
        return Look(due or next_due == 0.0, next_due, tuple(beats))

    def _beat(self, clock_sql: str | None) -> Compiled:
        beat = self._beats.get(clock_sql)
        if beat is None:
            table = self._table
            seen_at: Any = bindparam("b_now_at") if clock_sql is None else literal_column(clock_sql)
            own = table.update().where(table.c.owner == bindparam("b_owner"))
            beat = self._beats[clock_sql] = Compiled(own.values(beat=table.c.beat + 1, seen_at=seen_at))
        return beat

    def _look(self, clock_sql: str | None) -> CompoundSelect[Any]:
        look = self._looks.get(clock_sql)
        if look is None:
            no_text = cast(null(), String(255))
            clock = select(literal("clock"), literal_column(clock_sql or "", BigInteger), no_text, no_text, literal(0))
            look = self._looks[clock_sql] = union_all(*self._look_parts, *([clock] if clock_sql else []))
        return look


def held_of(written: bytes | None, now_at: int) -> tuple[Held, ...]:
    """Return what a dispatcher recorded that it holds back."""
    if not written:
        return ()
    return tuple(
        Held(queue, origin, max(0.0, to_seconds(now_at - since_at)), max(0.0, to_seconds(until_at - now_at)), why)
        for queue, origin, since_at, until_at, why in json.loads(written)
    )

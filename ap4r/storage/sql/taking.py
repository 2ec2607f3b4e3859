"""Taking ready messages: the oldest of a lane are locked, then all that were chosen are moved to `leased`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Select, Table, bindparam, or_, select

from ap4r.storage.sql.compiled import Compiled
from ap4r.storage.sql.orphans import set_aside
from ap4r.storage.sql.plans import by_primary_key
from ap4r.storage.sql.rows import expires_in_seconds, message_of
from ap4r.storage.sql.schema import Schema
from ap4r.storage.sql.share import Share, is_in_share
from ap4r.storage.sql.transaction import Transaction, to_seconds
from ap4r.storage.store import Lease

_PLACE = itemgetter(1, 2)  # position and id


class Taking:
    """Locks ready messages and leases them."""

    def __init__(self, schema: Schema) -> None:
        ready, messages = schema.ready, schema.messages
        self._ready, self._leased = ready, schema.leased
        here = [ready.c[name] for name in ("lane", "position", "id", "attempt", "failures", "crashes")]
        oldest = by_primary_key(
            select(*here)
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
            None: _with_content(oldest, messages),
            True: _with_content(oldest.where(is_in_share(ready)), messages),
            False: _with_content(oldest.where(~is_in_share(ready)), messages),
        }

    def oldest(
        self, tx: Transaction, lane: int, begin: int, behind: bytes, most: int, mine: bool | None, share: Share | None
    ) -> Sequence[Any]:
        """Lock up to `most` of a lane's rows that nobody else has locked, the oldest first.

        :param begin: the position to read from, there those behind the id `behind`.
        :param mine: true for those in `share` only, false for the others, None for all.
        """
        wanted = {"wanted_lane": lane, "begin": begin, "behind": behind, "most": most}
        if share is not None:
            wanted |= {"shares": share.shares, "own_share": share.own}
        return sorted(tx.rows(self._oldest[mine], wanted), key=_PLACE)

    def lease(self, tx: Transaction, owner: str, rows: Sequence[Any]) -> tuple[Lease, ...]:
        """Move locked rows of `oldest` to `leased`, and give them with what they are about."""
        token = os.urandom(16)
        states = [row[:6] for row in rows]
        tx.move(
            self._ready,
            ("lane", "position", "id"),
            self._leased,
            [
                {
                    "id": stored_id,
                    "token": token,
                    "owner": owner,
                    "lane": lane,
                    "position": position,
                    "attempt": attempt + 1,
                    "failures": failures,
                    "crashes": crashes,
                }
                for lane, position, stored_id, attempt, failures, crashes in states
            ],
        )
        # Without its content a row ends in NULLs; a target is never NULL.
        contents = {row[2]: row[6:] for row in rows if row[6] is not None}
        if len(contents) < len(states):
            set_aside(tx, (state[2] for state in states), contents)
            states = [state for state in states if state[2] in contents]
        names = tx.lanes.names_of(tx, {state[0] for state in states})
        return tuple(_leases(states, contents, names, token, tx.now_at))


def _with_content(oldest: Select[Any], messages: Table) -> Compiled:
    """Join what the messages are to a query that locks their places: within it, so that they are not locked too."""
    places = oldest.subquery("places")
    content = [column for column in messages.c if column.name not in ("id", "stored_at")]
    joined = select(*places.c, *content).join_from(places, messages, messages.c.id == places.c.id, isouter=True)
    return Compiled(by_primary_key(joined, messages))


def _leases(
    states: Iterable[tuple[Any, ...]],
    contents: Mapping[bytes, tuple[Any, ...]],
    names: Mapping[int, tuple[str, str]],
    token: bytes,
    now_at: int,
) -> Iterable[Lease]:
    for lane, _, stored_id, attempt, failures, crashes in states:
        *content, first_due_at, expires_at = contents[stored_id]
        yield Lease(
            message_of(stored_id, names[lane][0], *content),
            lane,
            token,
            attempt + 1,
            failures,
            crashes,
            max(0.0, to_seconds(now_at - first_due_at)),
            expires_in_seconds(expires_at, now_at),
        )

"""Claims rows: the oldest ready messages of a lane are locked, then all that were chosen are moved to `leased`.

If the database can, and few lanes are used, one statement does all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, FromClause, Select, Table, bindparam, or_, select

from ap4r.storage.access.statements import Compiled, by_primary_key
from ap4r.storage.access.transaction import Transaction, to_seconds
from ap4r.storage.databases.mysql.galera import ClusterPartition, is_in_share
from ap4r.storage.operations.missing_messages import MissingMessages
from ap4r.storage.schema.rows import expires_in_seconds, message_of
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import Lease

_PLACE = itemgetter(1, 2)  # position and id


@dataclass(slots=True)
class Claimant:
    """The owner of one claim, its token, and the share of a cluster that it prefers."""

    owner: str
    share: ClusterPartition | None
    token: bytes = field(default_factory=lambda: os.urandom(16))
    at_once: bool = False  #: rows are leased by the statement that finds them
    may_at_once: bool = True


class ClaimRows:
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
                # Written so that every database still uses the index for the first condition.
                or_(ready.c.position > bindparam("begin"), ready.c.id > bindparam("behind")),
            )
            .order_by(ready.c.position, ready.c.id)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True),
            ready,
        )
        self._at_once = _leased_at_once(oldest, schema)
        self._oldest = {
            None: _with_content(oldest, messages),
            True: _with_content(oldest.where(is_in_share(ready)), messages),
            False: _with_content(oldest.where(~is_in_share(ready)), messages),
        }
        self._orphans = MissingMessages(messages, _content(messages))

    def oldest(
        self,
        tx: Transaction,
        claimant: Claimant,
        lane: int,
        begin: int,
        behind: bytes,
        most: int,
        in_share: bool | None,
    ) -> Sequence[Any]:
        """Lock up to `most` of a lane's rows that no other transaction has locked, the oldest first.

        :param begin: the position to read from; at that position only ids after `behind`.
        :param in_share: true for rows in the claimant's share only, false for the others, None for all.
        """
        wanted: dict[str, Any] = {"wanted_lane": lane, "begin": begin, "behind": behind, "most": most}
        if claimant.at_once:
            found = tx.rows(self._at_once, {**wanted, "owner": claimant.owner, "token": claimant.token})
        else:
            if claimant.share is not None:
                wanted |= {"shares": claimant.share.shares, "own_share": claimant.share.own}
            found = tx.rows(self._oldest[in_share], wanted)
        return sorted(found, key=_PLACE)

    def lease(self, tx: Transaction, claimant: Claimant, rows: Sequence[Any]) -> tuple[Lease, ...]:
        """Move rows locked by `oldest` to `leased`, unless they are there already; return them with their messages."""
        states = [row[:6] for row in rows]
        if not claimant.at_once:
            self._move(tx, claimant, states)
        # A row without its message ends in NULLs; a target is never NULL.
        contents: dict[bytes, Sequence[Any]] = {row[2]: row[6:] for row in rows if row[6] is not None}
        if len(contents) < len(states):
            unseen = [state[2] for state in states if state[2] not in contents]
            contents |= {row[0]: row[1:] for row in self._orphans.find_or_remove(tx, unseen)}
            states = [state for state in states if state[2] in contents]
        lanes = {state[0] for state in states}
        tx.lanes.take(tx, lanes)
        names = tx.lanes.names_of(tx, lanes)
        return tuple(_leases(states, contents, names, claimant.token, tx.now_at))

    def _move(self, tx: Transaction, claimant: Claimant, states: Iterable[Sequence[Any]]) -> None:
        tx.move(
            self._ready,
            ("lane", "position", "id"),
            self._leased,
            [
                {
                    "id": stored_id,
                    "token": claimant.token,
                    "owner": claimant.owner,
                    "lane": lane,
                    "position": position,
                    "attempt": attempt + 1,
                    "failures": failures,
                    "crashes": crashes,
                }
                for lane, position, stored_id, attempt, failures, crashes in states
            ],
        )


def _with_content(oldest: Select[Any], messages: Table) -> Compiled:
    """Join the messages to a query that locks their rows in `ready`: outside of it, so that they are not locked too."""
    return Compiled(by_primary_key(_joined(oldest.subquery("places"), messages), messages))


def _leased_at_once(oldest: Select[Any], schema: Schema) -> Compiled:
    """Move the rows that a query has locked to `leased`, and return them with their messages."""
    ready, leased, places = schema.ready, schema.leased, oldest.cte("places")
    gone = ready.delete().where(*(ready.c[name] == places.c[name] for name in ("lane", "position", "id"))).cte("gone")
    taken = {
        "id": places.c.id,
        "token": bindparam("token", type_=leased.c.token.type),
        "owner": bindparam("owner", type_=leased.c.owner.type),
        "lane": places.c.lane,
        "position": places.c.position,
        "attempt": places.c.attempt + 1,
        "failures": places.c.failures,
        "crashes": places.c.crashes,
    }
    held = leased.insert().from_select(list(taken), select(*taken.values())).cte("held")
    return Compiled(_joined(places, schema.messages).add_cte(gone, held))


def _joined(places: FromClause, messages: Table) -> Select[Any]:
    same = messages.c.id == places.c.id
    return select(*places.c, *_content(messages)).join_from(places, messages, same, isouter=True)


def _content(messages: Table) -> list[Column[Any]]:
    return [column for column in messages.c if column.name not in ("id", "stored_at")]


def _leases(
    states: Iterable[tuple[Any, ...]],
    contents: Mapping[bytes, Sequence[Any]],
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

"""What a store promises: the one contract that every database keeps, and the values it speaks in.

Instants inside a store are its own clock's. `now` (Unix seconds) stands in for that clock in tests; None asks it.
Every call blocks for at most the store's deadline (5 s) and may be made from any thread. No call is half done.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from ap4r.message.message import Message, Put
from ap4r.outcome.outcome import DeliveryRules, History, Outcome
from ap4r.storage.reports import (
    COUNT_LIMIT,
    DeadLetter,
    DispatcherStatus,
    Held,
    QueueStatus,
    Replayed,
    StoreStatus,
    TurnedAwayQueue,
)

__all__ = [
    "COUNT_LIMIT",
    "Beat",
    "Claim",
    "DeadLetter",
    "DispatcherStatus",
    "Held",
    "Lease",
    "Look",
    "QueueStatus",
    "Replayed",
    "Rescued",
    "SettleResult",
    "Settlement",
    "Store",
    "StoreRules",
    "StoreStatus",
    "TurnedAwayQueue",
]


class Lease(NamedTuple):
    """A message given to one dispatcher for a time. Whatever is written about it later carries `token`.

    `attempt` counts the call about to be made. `age_seconds` (since it was first due) and `expires_in_seconds`
    are as of the claim.
    """

    message: Message
    lane: int
    token: bytes
    attempt: int
    failures: int
    crashes: int
    age_seconds: float
    expires_in_seconds: float | None

    def history(self, held_seconds: float) -> History:
        """Give the facts a judgement needs, `held_seconds` after the claim."""
        remaining = self.expires_in_seconds
        return History(
            delivery=self.message.delivery,
            attempt=self.attempt,
            failures=self.failures,
            crashes=self.crashes,
            age_seconds=self.age_seconds + held_seconds,
            expires_in_seconds=None if remaining is None else remaining - held_seconds,
            max_deliveries=self.message.max_deliveries,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought. `more` is true when it stopped at its limit: claiming again may find more at once."""

    leases: tuple[Lease, ...] = ()
    more: bool = False
    next_due_in_seconds: float | None = None


class Settlement(NamedTuple):
    """What to write down about one lease."""

    lease: Lease
    outcome: Outcome


class SettleResult(StrEnum):
    """What became of one settlement."""

    SETTLED = "settled"
    LEASE_LOST = "lease_lost"
    UNKNOWN = "unknown"  #: the store's answer was lost; settling again tells


@dataclass(frozen=True, slots=True)
class Beat:
    """A dispatcher as the store sees it: its counter moves while it lives."""

    owner: str
    beat: int
    holds_leases: bool
    bell: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What one glance tells an idle dispatcher. `due` may be true for lanes that it holds back itself."""

    due: bool
    next_due_in_seconds: float | None
    beats: tuple[Beat, ...] = ()


@dataclass(frozen=True, slots=True)
class Rescued:
    """What became of a dead dispatcher's leases, in messages."""

    freed: int = 0
    dead: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class StoreRules:
    """The settings that a store needs."""

    create_tables: bool = True
    table_prefix: str = "ap4r_"
    put_memory_seconds: float = 900.0
    intake_memory_seconds: float = 86_400.0
    deadline_seconds: float = 5.0
    delivery: DeliveryRules = field(default_factory=DeliveryRules)


class Store(Protocol):
    """Keeps messages until they are settled.

    Nothing is opened before the first call, and a process that was forked opens anew.

    Every method raises StoreUnavailable when the database cannot be used now (the call may be repeated: a put
    that repeats changes nothing, a lease that nobody holds is rescued), StoreUnusable when waiting cannot help,
    and SchemaMismatch when the tables are of another version.
    """

    @property
    def name(self) -> str:
        """The store's URL in full, without a password: what logs and errors call it."""

    def prepare(self) -> None:
        """Make the tables in an empty database (unless `create_tables` is off) and check their version.

        Safe when several processes do it at once. Every other method does it by itself on first use.
        """

    def put(self, put: Put, *, now: float | None = None) -> None:
        """Store all messages of `put` in one transaction, durable on return. A repeat within `put_memory_seconds`
        changes nothing, even if all of its messages have been delivered since. A message whose id is stored
        already is left as it is.

        Of a put with `each` every message's id is remembered, for `intake_memory_seconds`, and such a message is left
        out where it comes again.

        :raises MessageConflict: it comes again with other content; nothing was stored.
        :raises StoreUnavailable: with `outcome_unknown` when the messages may have been stored.
        """

    def put_together(self, puts: Sequence[Put]) -> list[Exception | None]:
        """Store several puts in one commit where that is possible, each by itself where not.

        Gives for each what `put` would have raised, None where it is stored.
        """

    def register(self, owner: str, name: str, version: str, bell: str, *, now: float | None = None) -> None:
        """Make a dispatcher known, with the address of its doorbell ("" for none)."""

    def unregister(self, owner: str, *, now: float | None = None) -> int:
        """Forget a dispatcher; leases it still holds go back uncalled, as anyone's. Returns their number."""

    def beat(self, owner: str, *, now: float | None = None) -> None:
        """Move the dispatcher's counter.

        :raises OwnerLost: it was taken for dead.
        """

    def report_held(self, owner: str, held: Sequence[Held], *, now: float | None = None) -> None:
        """Note what a dispatcher holds, for a person who asks; an unknown dispatcher changes nothing."""

    def claim(
        self,
        owner: str,
        limit: int,
        *,
        excluded: Collection[int] = (),
        yielding: Collection[int] = (),
        most_yielding: int | None = None,
        beat: bool = True,
        now: float | None = None,
    ) -> Claim:
        """Lease up to `limit` due messages to `owner`, oldest first within a lane, the lanes in turn.

        No message of a lane in `excluded` is given. Lanes in `yielding` give what is left of the limit by the others,
        and at most `most_yielding`. `attempt` already counts the call about to be made. Costs the same
        with ten waiting as with millions, held lanes included.

        :param beat: moves the owner's counter too; one that has beaten lately need not.
        :raises OwnerLost: it was taken for dead.
        """

    def settle(self, settlements: Sequence[Settlement], *, now: float | None = None) -> list[SettleResult]:
        """Write outcomes down in one transaction; answers in the order given.

        A lease whose token is no longer the store's is LEASE_LOST and nothing is written for it. Text is cut to
        what is kept. A batch that fails for a reason of one of its rows is split, so that the others are settled.
        """

    def look(self, *, now: float | None = None) -> Look:
        """Glance at what is due and who lives: one autocommitted SELECT."""

    def rescue(self, owner: str, beat: int, *, limit: int = 500, now: float | None = None) -> Rescued | None:
        """Take the leases from a dispatcher whose counter still stands at `beat`, in batches of `limit`.

        Return what became of them (`ap4r.outcome.retry_policy.after_crash`), or None when the counter has moved.
        """

    def lanes(self, ids: Collection[int]) -> dict[int, tuple[str, str]]:
        """Give queue and origin of lanes by id. Unknown ids are left out."""

    def local_address(self) -> str:
        """Return this host's IP address on a connection to the store; empty where there is none, as for a file.

        :raises StoreUnavailable: the store cannot be reached.
        """

    def bells(self, *, now: float | None = None) -> list[str]:
        """Give the doorbell addresses of the dispatchers that were seen in the last minute."""

    def dead(self, *, limit: int = 100, after: str | None = None, queue: str | None = None) -> list[DeadLetter]:
        """List dead letters, oldest message id first; `after` continues behind that id."""

    def replay(self, ids: Collection[str], *, again: bool = False, now: float | None = None) -> Replayed:
        """Put dead letters back at the front of their lanes, their counters at zero failures.

        A `once` message that was called goes back only with `again`.
        """

    def status(self, *, now: float | None = None) -> StoreStatus:
        """Give the figures a person asks for."""

    def prune(self, *, limit: int = 500, now: float | None = None) -> int:
        """Forget up to `limit` put ids, records of the inbox, unused lanes and silent dispatchers whose time is over.

        Returns how many.
        """

    def close(self) -> None:
        """Let go of every connection. A later call opens anew."""

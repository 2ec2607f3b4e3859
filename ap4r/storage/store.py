"""The contract that every store implements, and the values in its methods.

Instants inside a store are those of its own clock. Tests pass `now` (Unix seconds) to replace that clock; None reads
it. Every call blocks for at most the store's deadline (5 s) and may be made from any thread. Every call is atomic.
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
    """A message leased to one dispatcher for a time. Every later write about it carries `token`.

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
        """Return the facts that the retry policy needs, `held_seconds` after the claim."""
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
    """The result of a claim. With `more` it stopped at its limit: another claim may find more at once."""

    leases: tuple[Lease, ...] = ()
    more: bool = False
    next_due_in_seconds: float | None = None


class Settlement(NamedTuple):
    """The outcome to store for one lease."""

    lease: Lease
    outcome: Outcome


class SettleResult(StrEnum):
    """The result of one settlement."""

    SETTLED = "settled"
    LEASE_LOST = "lease_lost"
    UNKNOWN = "unknown"  #: the store's answer was lost; settle again to find out


@dataclass(frozen=True, slots=True)
class Beat:
    """A dispatcher as the store sees it: its counter advances while it lives."""

    owner: str
    beat: int
    holds_leases: bool
    bell: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """The result of an idle dispatcher's look at the store. `due` may be true for lanes that it holds back itself."""

    due: bool
    next_due_in_seconds: float | None
    beats: tuple[Beat, ...] = ()


@dataclass(frozen=True, slots=True)
class Rescued:
    """The outcome of rescuing a dead dispatcher's leases, in messages."""

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

    Nothing is opened before the first call, and a forked process opens its own connections.

    Every method raises StoreUnavailable when the database cannot be used now (the call may be repeated: a repeated
    put changes nothing, and an orphaned lease is rescued), StoreUnusable when a retry cannot help, and
    SchemaMismatch when the tables are of another version.
    """

    @property
    def name(self) -> str:
        """The store's URL in full, without a password, as it appears in logs and errors."""

    def prepare(self) -> None:
        """Create the tables in an empty database (unless `create_tables` is off) and check their version.

        Several processes may do so at once. Every other method does it on first use.
        """

    def put(self, put: Put, *, now: float | None = None) -> None:
        """Store all messages of `put` in one transaction, durable on return.

        A repeat within `put_memory_seconds` changes nothing, even if all of its messages have been delivered since. A
        message whose id is already stored stays unchanged.

        Of a put with `each` every message's id is remembered for `intake_memory_seconds`, and a message that is
        repeated in that time is skipped.

        :raises MessageConflict: a message was repeated with other content; nothing was stored.
        :raises StoreUnavailable: with `outcome_unknown` when the messages may have been stored.
        """

    def put_together(self, puts: Sequence[Put]) -> list[Exception | None]:
        """Store several puts in one commit if possible, else each in its own.

        Return for each the exception that `put` would have raised, or None if it is stored.
        """

    def register(self, owner: str, name: str, version: str, bell: str, *, now: float | None = None) -> None:
        """Register a dispatcher, with the address of its doorbell ("" for none)."""

    def unregister(self, owner: str, *, now: float | None = None) -> int:
        """Remove a dispatcher; leases it still holds are put back uncalled. Return their number."""

    def beat(self, owner: str, *, now: float | None = None) -> None:
        """Advance the dispatcher's counter.

        :raises OwnerLost: it was considered dead and removed.
        """

    def report_held(self, owner: str, held: Sequence[Held], *, now: float | None = None) -> None:
        """Record what a dispatcher holds back, for status reports; an unknown dispatcher changes nothing."""

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

        Lanes in `excluded` are skipped. Lanes in `yielding` get the part of the limit that the others leave, and at
        most `most_yielding`. `attempt` already counts the call about to be made. The cost does not depend on how many
        messages wait, in held lanes either.

        :param beat: also advances the owner's counter; not needed if it has beaten lately.
        :raises OwnerLost: it was considered dead and removed.
        """

    def settle(self, settlements: Sequence[Settlement], *, now: float | None = None) -> list[SettleResult]:
        """Store outcomes in one transaction; return the results in the same order.

        A lease whose token is no longer the store's is LEASE_LOST, and nothing is stored for it. Texts are cut to
        their maximum length. A batch that fails because of one row is split, so that the others are settled.
        """

    def look(self, *, now: float | None = None) -> Look:
        """Read what is due and which dispatchers live: one autocommitted SELECT."""

    def rescue(self, owner: str, beat: int, *, limit: int = 500, now: float | None = None) -> Rescued | None:
        """Rescue the leases of a dispatcher whose counter is still at `beat`, in batches of `limit`.

        Return what became of them (`ap4r.outcome.retry_policy.after_crash`), or None when the counter has advanced.
        """

    def lanes(self, ids: Collection[int]) -> dict[int, tuple[str, str]]:
        """Return queue and origin of lanes by id. Unknown ids are omitted."""

    def local_address(self) -> str:
        """Return this host's IP address on a connection to the store; empty if there is none, as for a file.

        :raises StoreUnavailable: the store cannot be reached.
        """

    def bells(self, *, now: float | None = None) -> list[str]:
        """Return the doorbell addresses of the dispatchers that were seen in the last minute."""

    def dead(self, *, limit: int = 100, after: str | None = None, queue: str | None = None) -> list[DeadLetter]:
        """List dead letters, oldest message id first; `after` continues behind that id."""

    def replay(self, ids: Collection[str], *, again: bool = False, now: float | None = None) -> Replayed:
        """Put dead letters back at the front of their lanes, their counters at zero failures.

        A `once` message that was called goes back only with `again`.
        """

    def status(self, *, now: float | None = None) -> StoreStatus:
        """Return the store's status."""

    def prune(self, *, limit: int = 500, now: float | None = None) -> int:
        """Delete up to `limit` expired rows: put ids, inbox records, unused lanes and silent dispatchers.

        Return how many were deleted.
        """

    def close(self) -> None:
        """Close every connection. A later call opens new ones."""

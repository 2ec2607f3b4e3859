"""Reports about a store: its dead letters and its status, as values."""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.message.message import Message
from ap4r.outcome.outcome import Reason


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. Instants are Unix seconds."""

    message: Message
    reason: Reason
    status: int | None
    detail: str
    attempt: int
    failures: int
    called: bool
    died_at: float
    stored_at: float


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The counts of one queue. They stop at `COUNT_LIMIT`; due messages count as ready even before their promotion.

    `oldest_due_seconds` is the time since the oldest waiting message fell due. `at_least` names the counts that are
    not exact: there are more, or may be.
    """

    queue: str
    ready: int
    scheduled: int
    leased: int
    dead: int
    oldest_due_seconds: float
    at_least: tuple[str, ...] = ()


#: Counting further would read the whole backlog. An exact count can be equal to it: `at_least` tells.
COUNT_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Held:
    """A circuit breaker that is open: a dispatcher does not call a queue at a server, or, without `queue`, a server.

    It has been open for `since_seconds`, and one trial call follows in `until_seconds`. `why` is a short text.
    """

    queue: str
    origin: str
    since_seconds: float
    until_seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class TurnedAwayQueue:
    """Messages of a queue that wait because a server's settings refuse them: its answer was 401 or 403."""

    queue: str
    origin: str
    status: int
    messages: int


#: A dispatcher that holds leases beats each 5 s; when it has not for this long, others take its messages.
SILENT_SECONDS = 15.0
#: One that holds none beats each 30 s.
SILENT_IDLE_SECONDS = 45.0


def is_alive(seen_seconds: float, leased: int) -> bool:
    """Return whether a dispatcher that has beaten so long ago and holds so many leases counts as alive."""
    return seen_seconds < (SILENT_SECONDS if leased else SILENT_IDLE_SECONDS)


@dataclass(frozen=True, slots=True)
class DispatcherStatus:
    """A dispatcher as the store sees it. `seen_seconds` is the time since its last heartbeat, by the store's clock."""

    owner: str
    name: str
    version: str
    seen_seconds: float
    leased: int
    alive: bool
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The status of a whole store. `oldest_due_seconds` is 0.0 when nothing is due.

    `turned_away` covers only the messages whose retry comes next.
    """

    queues: tuple[QueueStatus, ...] = ()
    dispatchers: tuple[DispatcherStatus, ...] = ()
    oldest_due_seconds: float = 0.0
    turned_away: tuple[TurnedAwayQueue, ...] = ()


#: Messages that have been due for longer without a dispatcher that is alive need a person.
STUCK_SECONDS = 60.0


def is_stuck(status: StoreStatus) -> bool:
    """Return whether messages have been due for `STUCK_SECONDS` and no dispatcher of the store is alive."""
    return status.oldest_due_seconds >= STUCK_SECONDS and not any(one.alive for one in status.dispatchers)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay. `refused`: `once` messages already called, which need `again`; `missing`: not dead."""

    replayed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

"""What a person is told of a store: its dead letters and its figures, as values."""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.message.message import Message
from ap4r.outcome.outcome import Reason


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up, as a person sees it. Instants are Unix seconds."""

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
    """The figures of one queue. Counts stop at `COUNT_LIMIT`; what is due is ready, noticed by a claim or not.

    `oldest_due_seconds` is for how long that has been due which waits longest. `at_least` names the counts that are
    not exact: there are more, or may be.
    """

    queue: str
    ready: int
    scheduled: int
    leased: int
    dead: int
    oldest_due_seconds: float
    at_least: tuple[str, ...] = ()


#: Counting further would read the whole backlog. There can be exactly so many: `at_least` tells.
COUNT_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Held:
    """What a dispatcher makes no call to: a queue at a server, or, where `queue` is empty, the whole server.

    It has been so for `since_seconds`, and one call tries it in `until_seconds`. `why` is a few words.
    """

    queue: str
    origin: str
    since_seconds: float
    until_seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class TurnedAwayQueue:
    """Messages of a queue that wait because a server's settings keep them out: its answer was 401 or 403."""

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
    """A dispatcher as the store sees it. `seen_seconds` is how long ago it last beat, by the store's clock."""

    owner: str
    name: str
    version: str
    seen_seconds: float
    leased: int
    alive: bool
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The whole store as a person sees it. `oldest_due_seconds` is 0.0 when nothing is due.

    `turned_away` is what is found among those that are made again next.
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
    """What a replay did. `refused` are `once` messages that were called and need `again`; `missing` are not dead."""

    replayed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

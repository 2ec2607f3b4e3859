"""Messages, dispatchers and leases with sensible values, and a store with a message in any state."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ap4r.message.message import Message, Put, new_id
from ap4r.message.target import Target
from ap4r.outcome.outcome import Dead, Failure, Outcome, Reason, RetryLater
from ap4r.storage.store import Lease, QueueStatus, Settlement, SettleResult, Store

#: 2023-11-14 22:13:20 UTC: the instant at which most tests begin.
NOW = 1_700_000_000.0


def message(queue: str = "queue.a", *, url: str = "/do", upstream: str | None = "app", **values: Any) -> Message:
    """Describe a message of its own id."""
    return Message(**{"id": new_id(), "queue": queue, "target": Target(url, upstream), **values})


def messages(count: int, queue: str = "queue.a", **values: Any) -> list[Message]:
    """Describe several messages alike."""
    return [message(queue, **values) for _ in range(count)]


def put(store: Store, *described: Message, now: float | None = NOW) -> Put:
    """Store messages in one put of its own id."""
    made = Put(new_id(), described)
    store.put(made, now=now)
    return made


def dispatcher(store: Store, owner: str = "one", *, bell: str = "", now: float | None = NOW) -> str:
    """Register a dispatcher, and return its owner id."""
    store.register(owner, f"{owner}@test", "1.0", bell, now=now)
    return owner


def claim(
    store: Store, owner: str, limit: int = 100, *, excluded: Collection[int] = (), now: float | None = NOW
) -> list[Lease]:
    """Claim, and return the leases alone."""
    return list(store.claim(owner, limit, excluded=excluded, now=now).leases)


def claimed(store: Store, described: Message, owner: str = "one", *, now: float = NOW) -> Lease:
    """Store one message and lease it to a dispatcher; nothing else may be due."""
    put(store, described, now=now)
    [lease] = claim(store, dispatcher(store, owner, now=now), now=now)
    assert lease.message.id == described.id
    return lease


def settle(store: Store, *settlements: tuple[Lease, Outcome], now: float | None = NOW) -> list[SettleResult]:
    """Settle leases with their outcomes."""
    return store.settle([Settlement(lease, outcome) for lease, outcome in settlements], now=now)


def failure(reason: Reason = Reason.STATUS, **values: Any) -> Failure:
    """Describe a failed attempt."""
    return Failure(reason, **{"status": 500, "detail": "it broke", "seconds": 0.25, **values})


def retry(wait_seconds: float = 60.0, *, counts: bool = True) -> RetryLater:
    """Return the outcome of a call that is to be repeated."""
    return RetryLater(failure(), wait_seconds, counts)


def dead(reason: Reason = Reason.STATUS, *, called: bool = True) -> Dead:
    """Return the outcome of a message that is given up."""
    return Dead(reason, failure(reason), called=called, counts=called)


def bury(store: Store, *described: Message, called: bool = True, now: float = NOW) -> None:
    """Store messages and let each become a dead letter. Nothing else may be due."""
    put(store, *described, now=now)
    leases = claim(store, dispatcher(store, "sexton", now=now), len(described), now=now)
    assert {lease.message.id for lease in leases} == {one.id for one in described}
    answers = settle(store, *((lease, dead(called=called)) for lease in leases), now=now)
    assert set(answers) == {SettleResult.SETTLED}
    store.unregister("sexton", now=now)


def ids(leases: Iterable[Lease]) -> list[str]:
    """Return the ids of leased messages, in order."""
    return [lease.message.id for lease in leases]


def counts(store: Store, queue: str = "queue.a", *, now: float = NOW) -> tuple[int, int, int, int]:
    """Return how many messages of a queue are ready, scheduled, leased and dead."""
    for figures in store.status(now=now).queues:
        if figures.queue == queue:
            return counts_of(figures)
    return (0, 0, 0, 0)


def counts_of(figures: QueueStatus) -> tuple[int, int, int, int]:
    """Return ready, scheduled, leased and dead of one queue's figures."""
    return (figures.ready, figures.scheduled, figures.leased, figures.dead)

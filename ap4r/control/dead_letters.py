"""The use cases of dead letters: list them and put them back. A body is never shown, only its size."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Reason
from ap4r.storage.reports import DeadLetter, Replayed
from ap4r.storage.store import Store

#: So many dead letters are read and put back in one call of the store.
PAGE = 500


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A message without its body and headers."""

    id: str
    queue: str
    method: str
    target: str
    delivery: Delivery
    body_bytes: int


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """A message that was given up, and why. Instants are Unix seconds."""

    message: MessageSummary
    reason: Reason
    status: int | None
    detail: str
    attempt: int
    failures: int
    called: bool
    died_at: float
    stored_at: float


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """Dead letters, oldest message id first. `next_after` is the beginning of the next page; None on the last page."""

    letters: tuple[DeadLetterSummary, ...]
    next_after: str | None


def list_dead_letters(
    store: Store, *, limit: int = 100, after: str | None = None, queue: str | None = None
) -> DeadLetterPage:
    """Return at most `limit` dead letters, those behind the message `after`, of one queue where `queue` is given."""
    # One more than is returned shows whether there is a next page.
    found = store.dead(limit=limit + 1, after=after, queue=queue)
    letters = tuple(_summary(letter) for letter in found[:limit])
    return DeadLetterPage(letters, letters[-1].message.id if len(found) > limit else None)


def replay(store: Store, ids: Collection[str], *, again: bool = False) -> Replayed:
    """Put dead letters back, to be called at once.

    :param again: also `once` messages that were called, which may then take effect twice.
    """
    return store.replay(ids, again=again)


def replay_all(
    store: Store,
    *,
    queue: str | None = None,
    again: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Replayed:
    """Put all dead letters back, or all of one queue, a page at a time.

    A message that becomes a dead letter again meanwhile is not put back a second time. `missing` are those that
    another caller put back meanwhile.

    :param progress: called with the number so far after each page that put something back.
    """
    replayed: list[str] = []
    refused: list[str] = []
    missing: list[str] = []
    after = None
    while letters := store.dead(limit=PAGE, after=after, queue=queue):
        ids = [letter.message.id for letter in letters]
        after = ids[-1]
        page = store.replay(ids, again=again)
        replayed += page.replayed
        refused += page.refused
        missing += page.missing
        if page.replayed and progress is not None:
            progress(len(replayed))
    return Replayed(tuple(replayed), tuple(refused), tuple(missing))


def _summary(letter: DeadLetter) -> DeadLetterSummary:
    message = letter.message
    return DeadLetterSummary(
        MessageSummary(
            message.id, message.queue, message.method, str(message.target), message.delivery, len(message.body)
        ),
        reason=letter.reason,
        status=letter.status,
        detail=letter.detail,
        attempt=letter.attempt,
        failures=letter.failures,
        called=letter.called,
        died_at=letter.died_at,
        stored_at=letter.stored_at,
    )

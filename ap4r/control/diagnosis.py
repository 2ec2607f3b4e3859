"""The sentences of `ap4r doctor`: what keeps messages from being delivered soon. Pure: figures in, sentences out."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ap4r.message.depth import DEEP, depth_of
from ap4r.storage.reports import STUCK_SECONDS, DeadLetter, Held, StoreStatus, TurnedAwayQueue

#: The most sentences of a kind; the others are counted.
MOST_SENTENCES = 10


def findings(status: StoreStatus, bells: Collection[str], heard: Collection[str]) -> list[str]:
    """Return a sentence for each problem that a person should know or solve; none without problems.

    :param heard: those of the `bells` that this host seems to reach.
    """
    found = []
    if not any(one.alive for one in status.dispatchers):
        found.append("no dispatcher of this store is alive; start one with: twistd -n ap4r")
    elif not bells:
        found.append("no dispatcher has a doorbell, so a new message waits for the next poll, up to 5 s (setting bell)")
    elif not heard:
        found.append(
            f"no doorbell can be reached from here ({', '.join(sorted(bells))}), so a new message from this host waits "
            "for the next poll, up to 5 s (setting bell: interface= and advertise=, or a path that both can use)"
        )
    elif status.oldest_due_seconds >= STUCK_SECONDS:
        queue = max(status.queues, key=lambda one: one.oldest_due_seconds)
        found.append(
            f"messages of {queue.queue} have been due for {queue.oldest_due_seconds:.0f} s; is their target held, or "
            "too slow for their number? See the dispatcher's log and /healthz"
        )
    found += _held(status) + _turned_away(status)
    silent = [
        f"{one.name} (no heartbeat for {one.seen_seconds:.0f} s)"
        for one in status.dispatchers
        if not one.alive and one.leased
    ]
    if silent:
        found.append(f"dead with messages in hand: {', '.join(silent)}; a living dispatcher takes them within 20 s")
    dead = sum(queue.dead for queue in status.queues)
    if dead:
        more = "at least " if any("dead" in queue.at_least for queue in status.queues) else ""
        found.append(f"dead letters wait for a person: {more}{dead:,} (ap4r dead)")
    return found


def chain_findings(queues: Iterable[str], dead: Iterable[DeadLetter]) -> list[str]:
    """Return a sentence for each queue that feeds itself.

    :param queues: those that a dispatcher reports.
    :param dead: dead letters, of which some may have been refused at max_depth.
    """
    deep = {letter.message.queue for letter in dead if depth_of(letter.message.headers) >= DEEP}
    return [
        f"queue {queue} feeds itself: a chain of deliveries led to its messages, each asking for the next; does an "
        "action call itself, directly or through other actions, each time it is called? At max_depth it is refused"
        for queue in sorted({*queues, *deep})
    ]


def bell_notes(bells: Collection[str], heard: Collection[str], host: str) -> list[str]:
    """Return a sentence for each doorbell: whether a writer on this host can ring it."""
    return [
        f"the doorbell {bell} {'can' if bell in heard else 'cannot'} be reached from this host ({host})"
        for bell in sorted(bells)
    ]


def what_is_held(status: StoreStatus) -> list[Held]:
    """Return the holds of the living dispatchers, each once, the oldest first."""
    found: dict[tuple[str, str], Held] = {}
    for one in (held for dispatcher in status.dispatchers if dispatcher.alive for held in dispatcher.held):
        known = found.get((one.queue, one.origin))
        if known is None or known.since_seconds < one.since_seconds:
            found[one.queue, one.origin] = one
    return sorted(found.values(), key=lambda one: -one.since_seconds)


def held_words(one: Held) -> str:
    """Return what is held, since and until when, and why."""
    what = f"messages of {one.queue} to {one.origin}" if one.queue else f"all messages to {one.origin}"
    return (
        f"{what} have been held for {one.since_seconds:.0f} s ({one.why}); the next call tries it in "
        f"{one.until_seconds:.0f} s"
    )


def _held(status: StoreStatus) -> list[str]:
    return _some([held_words(one) for one in what_is_held(status)], "are held as well")


def _turned_away(status: StoreStatus) -> list[str]:
    return _some([_turned_away_words(one) for one in status.turned_away], "are refused as well")


def _turned_away_words(one: TurnedAwayQueue) -> str:
    # An absolute URL's credentials are the message's own.
    setting = f"auth and secrets of [upstreams.{one.origin}]" if "/" not in one.origin else "the message's own headers"
    count = "1 message" if one.messages == 1 else f"{one.messages:,} messages"
    return f"{count} of {one.queue} wait because {one.origin} answered {one.status}: see {setting}, and what it admits"


def _some(sentences: list[str], others: str) -> list[str]:
    rest = len(sentences) - MOST_SENTENCES
    return sentences[:MOST_SENTENCES] + ([f"{rest} more {others}"] if rest > 0 else [])

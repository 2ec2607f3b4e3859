"""What is held, since and until when, and why, for /healthz, for the store and for a person. It decides nothing.

Lists are short, however many holds there are: the oldest are named, and the others counted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.holds import Hold, Key
from ap4r.outcome.outcome import Failure
from ap4r.storage.reports import Held

MOST_NAMED = 50


class HeldReport:
    """Reports the holds of a process.

    :param unix_now: the time of day, for a person.
    """

    def __init__(self, limit: ConcurrencyLimit, unix_now: Callable[[], float]) -> None:
        self._limit = limit
        self._unix_now = unix_now

    def facts(self, now: float) -> dict[str, Any]:
        """Return the report for /healthz."""
        self._limit.holds.advance(now)
        holds, unix_now = self._limit.holds, self._unix_now()
        named = {_name(key): _facts(key, hold, now, unix_now) for key, hold in islice(holds.held(), MOST_NAMED)}
        cut = self._limit.cuts.origins(self._limit.concurrency, now)
        return {"held": named, "held_count": len(holds.closed), "cut": dict(list(cut.items())[:MOST_NAMED])}

    def of_store(self, knows: Callable[[Key], bool], now: float) -> tuple[Held, ...]:
        """Return the report for a store, about holds that have lanes there."""
        self._limit.holds.advance(now)
        found = []
        for key, hold in self._limit.holds.held():
            if knows(key):
                queue, origin = ("", key) if isinstance(key, str) else key
                left_seconds = max(0.0, hold.until - now)
                found.append(Held(queue, origin, now - hold.since, left_seconds, reason_words(hold.why)))
                if len(found) == MOST_NAMED:
                    break
        return tuple(found)


def reason_words(failure: Failure) -> str:
    """Return why something is held, without any text of a target."""
    words = failure.reason.value.replace("_", " ")
    return words if failure.status is None else f"{words} {failure.status}"


def _name(key: Key) -> str:
    return key if isinstance(key, str) else f"{key[0]} at {key[1]}"


def _facts(key: Key, hold: Hold, now: float, unix_now: float) -> dict[str, Any]:
    queue, origin = (None, key) if isinstance(key, str) else key
    left_seconds = max(0.0, hold.until - now)
    return {
        "queue": queue,
        "origin": origin,
        "since": _instant(unix_now - (now - hold.since)),
        "until": _instant(unix_now + left_seconds),
        "seconds": round(left_seconds, 3),
        "why": reason_words(hold.why),
    }


def _instant(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

"""The log's subscriber: writes events as lines, thins out frequent ones, and sums up each queue once a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ap4r.dispatcher.log.messages import Line, line_of
from ap4r.events import events as happened
from ap4r.outcome.outcome import Dead, Delivered, Dropped, RetryLater

RETRIES_A_SECOND = 10  #: of one queue; the others are counted in its summary
SUMMARY_SECONDS = 60.0
MOST_SUMMARIES = 100  #: queues summed up with a line of their own, the busiest first
STORE_FAILURE_SECONDS = 10.0  #: between two lines about failures of the same store

_CALLS = (happened.CallEnded, happened.CallStarted, happened.Claimed)
_WORDS = {Delivered: "delivered", RetryLater: "retries", Dead: "dead", Dropped: "dropped"}
_THINNED = {"retry": "retries", "dropped": "dropped", "lease_lost": "lost leases"}


class Log:
    """Writes the line of each event, unless there are too many of its kind.

    :param write: writes a line.
    :param wants_debug: whether lines of level debug are printed; without it delivered messages cost no text.
    """

    def __init__(self, clock: IReactorTime, write: Callable[[Line], None], wants_debug: Callable[[], bool]) -> None:
        self._clock = clock
        self._write = write
        self._wants_debug = wants_debug
        self._queues: dict[str, Counter[str]] = {}
        self._summary: IDelayedCall | None = None
        self._second = 0
        self._told: Counter[tuple[str, str]] = Counter()
        self._store_told: dict[str, float] = {}
        self._failing: set[str] = set()  # whose last line in the log is a failure

    def wants(self, kind: type[happened.Event]) -> bool:
        """Return whether events of this kind are written or counted now (`Events.subscribe`)."""
        return kind not in _CALLS or self._wants_debug()

    def __call__(self, event: happened.Event) -> None:
        """Receive an event (`Events.subscribe`)."""
        if isinstance(event, happened.Settled):
            self._count(event)
            if isinstance(event.outcome, Delivered):
                return
        elif isinstance(event, _CALLS):
            if self._wants_debug():
                self._write_line(event)
            return
        elif isinstance(event, happened.StoreFailed):
            now = self._clock.seconds()
            if now - self._store_told.get(event.store, float("-inf")) < STORE_FAILURE_SECONDS:
                return
            self._store_told[event.store] = now
            self._failing.add(event.store)
        elif isinstance(event, happened.StoreRecovered):
            # If the beginning of an outage was left out, its end is left out too.
            if event.store not in self._failing:
                return
            self._failing.discard(event.store)
        self._write_line(event)

    def close(self) -> None:
        """Write the summaries that are still due."""
        if self._summary is not None:
            self._summary.cancel()
            self._sum_up()

    def _write_line(self, event: happened.Event) -> None:
        line = line_of(event)
        if line is not None and not (line.name in _THINNED and self._is_too_many(line)):
            self._write(line)

    def _is_too_many(self, line: Line) -> bool:
        second = int(self._clock.seconds())
        if second != self._second:
            self._second = second
            self._told.clear()
        kind = (line.name, str(line.fields["queue"]))
        self._told[kind] += 1
        if self._told[kind] <= RETRIES_A_SECOND:
            return False
        self._figures(kind[1])["untold"] += 1
        return True

    def _count(self, event: happened.Settled) -> None:
        word = _WORDS.get(type(event.outcome))
        if word is not None:
            self._figures(event.queue)[word] += 1

    def _figures(self, queue: str) -> Counter[str]:
        figures = self._queues.get(queue)
        if figures is None:
            figures = self._queues[queue] = Counter()
            if self._summary is None:
                self._summary = self._clock.callLater(SUMMARY_SECONDS, self._sum_up)
        return figures

    def _sum_up(self) -> None:
        self._summary = None
        queues, self._queues = self._queues, {}
        busiest = sorted(queues.items(), key=lambda item: (-item[1].total(), item[0]))
        for queue, figures in busiest[:MOST_SUMMARIES]:
            self._write(_summary(f"queue {queue}", figures, {"queue": queue}))
        rest = busiest[MOST_SUMMARIES:]
        if rest:
            total: Counter[str] = Counter()
            for _, figures in rest:
                total.update(figures)
            self._write(_summary(f"{len(rest)} other queues", total, {"queues": len(rest)}))


def _summary(what: str, figures: Counter[str], fields: dict[str, Any]) -> Line:
    counted = {word: figures[word] for word in (*_WORDS.values(), "untold")}
    text = ", ".join(f"{counted[word]} {word}" for word in _WORDS.values())
    if counted["untold"]:
        text += f"; {counted['untold']} lines were left out"
    return Line("info", "summary", f"{what}, last minute: {text}", {**fields, **counted})

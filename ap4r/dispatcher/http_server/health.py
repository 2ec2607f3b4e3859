"""`GET /healthz`: whether the claim loop ran recently, and what is due. It changes nothing.

Counts that are expensive for the store are read at most once in a while, however often the page is requested.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.storage.store import StoreStatus

#: A loop that has tried for longer than this without success is not healthy.
LATE_SECONDS = 15.0
FIGURES_SECONDS = 5.0  #: how long the store's counts are cached
_HEADERS = {b"Content-Type": b"application/json", b"Cache-Control": b"no-store"}


class StoreFigures:
    """The store's own counts, read on request if the cached ones are old."""

    def __init__(self, store: StoreThread, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._asked_at = float("-inf")
        self._status: StoreStatus | None = None
        self._waiting: list[Callable[[StoreStatus | None], None]] = []

    def read(self, received: Callable[[StoreStatus | None], None]) -> None:
        """Pass on the counts, now or when the store has answered; None when it did not."""
        if self._waiting:
            self._waiting.append(received)
        elif self._store.outage.lasts:
            # It would delay the page, and with it the facts about the other stores.
            received(None)
        elif self._clock.seconds() - self._asked_at < FIGURES_SECONDS:
            received(self._status)
        else:
            self._waiting.append(received)
            asked = self._store.run("status", partial(self._store.store.status))
            asked.addCallbacks(self._answered, self._failed)

    def _answered(self, status: StoreStatus) -> None:
        self._pass_on(status)

    def _failed(self, failure: Failure) -> None:
        self._pass_on(None)

    def _pass_on(self, status: StoreStatus | None) -> None:
        self._asked_at = self._clock.seconds()
        self._status = status
        waiting, self._waiting = self._waiting, []
        for received in waiting:
            received(status)


class Healthz(Resource):
    """Answers 200 when all is healthy and 503 when not, with the facts as JSON in either case.

    :param facts: the facts about the dispatcher and, in "stores", about each store; "ok" in both.
    :param figures: the counts of the same stores.
    :param shows_all: whether a request's sender may see more than "ok": where stores are, what is held.
    """

    isLeaf = True

    def __init__(
        self,
        facts: Callable[[], dict[str, Any]],
        figures: Sequence[StoreFigures],
        shows_all: Callable[[Any], bool] = lambda request: True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shows_all = shows_all
        self._facts = facts
        self._figures = figures

    def render_GET(self, request: Request) -> int:
        """Answer when the store's counts have been read."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        statuses: dict[int, StoreStatus | None] = {}

        def received(number: int, status: StoreStatus | None) -> None:
            statuses[number] = status
            if not gone and len(statuses) == len(self._figures):
                self._answer(request, [statuses[number] for number in sorted(statuses)])

        for number, figures in enumerate(self._figures):
            figures.read(partial(received, number))
        return NOT_DONE_YET

    def _answer(self, request: Request, statuses: Sequence[StoreStatus | None]) -> None:
        facts = self._facts()
        for store, status in zip(facts["stores"], statuses, strict=True):
            store["ok"] = bool(store["ok"]) and status is not None
            store["due"] = None if status is None else due(status)
            facts["ok"] = facts["ok"] and store["ok"]
        request.setResponseCode(200 if facts["ok"] else 503)
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        shown = facts if self._shows_all(request) else {"ok": facts["ok"]}
        request.write(json.dumps(shown, indent=2).encode() + b"\n")
        request.finish()


def due(status: StoreStatus) -> dict[str, Any]:
    """Sum up what waits in a store. `at_least` names the sums that are lower bounds."""
    return {
        "oldest_seconds": round(status.oldest_due_seconds, 3),
        "ready": sum(queue.ready for queue in status.queues),
        "scheduled": sum(queue.scheduled for queue in status.queues),
        "leased": sum(queue.leased for queue in status.queues),
        "dead": sum(queue.dead for queue in status.queues),
        "at_least": sorted({name for queue in status.queues for name in queue.at_least}),
    }

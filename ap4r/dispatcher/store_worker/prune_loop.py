"""The prune loop: it deletes regularly what the store no longer needs, and rarely while there is no work."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.store_outage import LoopFailures
from ap4r.dispatcher.store_worker.store_thread import StoreThread

BUSY_SECONDS = 60.0
IDLE_SECONDS = 300.0
BATCH = 500
#: After a full batch there is more; 10,000 rows a second are more than one store receives.
NEXT_BATCH_SECONDS = 0.05


class TakenCount(Protocol):
    """Counts the messages that were claimed."""

    @property
    def taken(self) -> int:
        """Their number since the start."""


class PruneLoop(Loop):
    """Prunes once a minute while there is work, each five minutes otherwise."""

    def __init__(self, store: StoreThread, clock: IReactorTime, failures: LoopFailures, deliveries: TakenCount) -> None:
        super().__init__(clock, "prune", self._prune, failures)
        self._store = store
        self._deliveries = deliveries
        self._taken_before = 0
        self._waited = IDLE_SECONDS

    async def _prune(self) -> float:
        busy, self._taken_before = self._deliveries.taken != self._taken_before, self._deliveries.taken
        if not busy and self._waited < IDLE_SECONDS:
            self._waited += BUSY_SECONDS
            return BUSY_SECONDS
        self._waited = IDLE_SECONDS
        store = self._store.store
        rows = await self._store.run("prune", lambda: store.prune(limit=BATCH))
        self._waited = BUSY_SECONDS
        return NEXT_BATCH_SECONDS if rows >= BATCH else BUSY_SECONDS

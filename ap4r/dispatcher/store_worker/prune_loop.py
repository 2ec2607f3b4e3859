"""The regular tidying of the store, seldom enough when idle to cost nothing. What is tidied, the store knows."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.loop import Loop, Report
from ap4r.dispatcher.store_worker.store_thread import StoreThread

BUSY_SECONDS = 60.0
IDLE_SECONDS = 300.0
BATCH = 500
#: After a full batch there is more; 10,000 rows a second keep up with any load that one store takes.
NEXT_BATCH_SECONDS = 0.05


class PruneLoop(Loop):
    """Prunes once a minute while there is work, each five minutes otherwise.

    :param was_busy: whether there was work since it was last asked.
    """

    def __init__(self, store: StoreThread, clock: IReactorTime, report: Report, was_busy: Callable[[], bool]) -> None:
        super().__init__(clock, self._prune, report)
        self._store = store
        self._was_busy = was_busy
        self._waited = IDLE_SECONDS

    async def _prune(self) -> float:
        busy = self._was_busy()
        if not busy and self._waited < IDLE_SECONDS:
            self._waited += BUSY_SECONDS
            return BUSY_SECONDS
        self._waited = IDLE_SECONDS
        store = self._store.store
        rows = await self._store.run("prune", lambda: store.prune(limit=BATCH))
        self._waited = BUSY_SECONDS
        return NEXT_BATCH_SECONDS if rows >= BATCH else BUSY_SECONDS

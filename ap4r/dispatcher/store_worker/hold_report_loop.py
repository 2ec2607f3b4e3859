"""The hold report loop: it writes holds to the store soon after they change, for `ap4r status` and `ap4r doctor`."""

from __future__ import annotations

from functools import partial

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.flow.flow_control import FlowControl
from ap4r.dispatcher.flow.hold_report import HeldReport
from ap4r.dispatcher.store_worker.heartbeat import Heartbeat
from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.store_outage import LoopFailures
from ap4r.dispatcher.store_worker.store_thread import StoreThread

#: A change is written after so long, so that simultaneous changes are written together.
SOON_SECONDS = 0.1
#: The least time since the last write.
PAUSE_SECONDS = 2.0


class HoldReportLoop(Loop):
    """Keeps the holds that a store shows equal to those of this process."""

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        failures: LoopFailures,
        flow: FlowControl,
        held: HeldReport,
        heartbeat: Heartbeat,
    ) -> None:
        super().__init__(clock, "report", self._write, failures)
        self._store = store
        self._holds, self._lanes = flow.limit.holds, flow.lanes
        self._held = held
        self._heartbeat = heartbeat
        self._seen: tuple[str, int] | None = None
        self._is_empty = True
        self._written_at = float("-inf")
        self._holds.listen(self._changed)

    def _changed(self) -> None:
        self.wake(max(SOON_SECONDS, self._written_at + PAUSE_SECONDS - self._clock.seconds()))

    async def _write(self) -> float | None:
        owner = self._heartbeat.owner
        held = self._held.of_store(self._lanes.knows, self._clock.seconds())
        seen = (owner, self._holds.version)
        if seen == self._seen or (not held and self._is_empty):
            return None
        self._written_at = self._clock.seconds()
        await self._store.run("report", partial(self._store.store.report_held, owner, held))
        self._seen, self._is_empty = seen, not held
        return PAUSE_SECONDS if self._holds.version != seen[1] else None

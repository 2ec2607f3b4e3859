"""How a store is left: calls end within a grace, what they brought is written down, then the place is given up."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall

from ap4r.dispatcher.delivery.deliveries import Deliveries
from ap4r.dispatcher.store_worker.heartbeat import Heartbeat
from ap4r.dispatcher.store_worker.registration import Registration
from ap4r.dispatcher.store_worker.settle_loop import SettleLoop
from ap4r.dispatcher.store_worker.store_outage import StoreOutage


class Shutdown:
    """The end of a dispatcher's work on one store.

    :param deadline_seconds: of one call of the store.
    """

    def __init__(
        self, reactor: Any, deliveries: Deliveries, settlements: SettleLoop, heartbeat: Heartbeat, place: Registration,
        outage: StoreOutage, *, deadline_seconds: float,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._deliveries, self._settlements = deliveries, settlements
        self._heartbeat, self._place, self._outage = heartbeat, place, outage
        self._deadline_seconds = deadline_seconds
        self._idle: Deferred[None] | None = None
        self._grace: IDelayedCall | None = None
        self._in_haste = False

    async def wait_for_calls(self, grace_seconds: float) -> None:
        """Return when no call is in flight any more; those that still are after the grace are cut."""
        if not self._deliveries.in_flight:
            return
        self._idle = Deferred()
        # Who asks twice may have done so before the grace begins: a claim that was under way is waited for first.
        self._grace = self._reactor.callLater(0.0 if self._in_haste else grace_seconds, self._deliveries.cut_all)
        await self._idle
        if self._grace is not None and self._grace.active():
            self._grace.cancel()

    def freed(self) -> None:
        """Note that a call has ended."""
        if self._idle is not None and not self._deliveries.in_flight:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def hurry(self) -> None:
        """End the grace of this stop now, or as soon as it begins."""
        self._in_haste = True
        if self._grace is not None and self._grace.active():
            self._grace.reset(0.0)

    async def leave(self) -> int:
        """Settle what is kept and give up our place; give how many messages were handed back.

        What the store does not take in time is found by others.
        """
        handed_back, self._in_haste = 0, False
        try:
            flushed = self._settlements.flush()
            await flushed.addTimeout(2 * self._deadline_seconds, self._reactor)
            await self._stop_writing()
            if self._settlements.refused:
                # Others find them in the hands of one who is silent, and know that they may have been called.
                problem = (
                    f"outcomes that cannot be written down: {self._settlements.refused}; others find their messages"
                )
                self._outage.failed("leave", problem, 0.0)
            else:
                handed_back = await self._heartbeat.unregister()
        except Exception as error:  # noqa: BLE001 - whatever it is, the process must end
            unsettled = self._settlements.kept + self._settlements.refused
            problem = f"{error!r}; {unsettled} outcomes are not written down"
            self._outage.failed("leave", problem, 0.0)
            await self._stop_writing()
        return handed_back

    async def _stop_writing(self) -> None:
        await gatherResults([*self._heartbeat.stop(), self._place.stop(), self._settlements.stop()])

"""Leaving a store: calls end within a grace period, their outcomes are settled, then the dispatcher unregisters."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime

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
        self,
        reactor: IReactorTime,
        deliveries: Deliveries,
        settlements: SettleLoop,
        heartbeat: Heartbeat,
        registration: Registration,
        outage: StoreOutage,
        *,
        deadline_seconds: float,
    ) -> None:
        self._reactor = reactor
        self._deliveries, self._settlements = deliveries, settlements
        self._heartbeat, self._registration, self._outage = heartbeat, registration, outage
        self._deadline_seconds = deadline_seconds
        self._idle: Deferred[None] | None = None
        self._grace: IDelayedCall | None = None
        self._grace_ended = False

    async def wait_for_calls(self, grace_seconds: float) -> None:
        """Return when no call is in flight. Calls that outlast the grace period are cut."""
        if not self._deliveries.in_flight:
            return
        self._idle = Deferred()
        # The second request to stop may come before the grace period begins, because a running claim is waited for
        # first.
        self._grace = self._reactor.callLater(0.0 if self._grace_ended else grace_seconds, self._deliveries.cut_all)
        await self._idle
        if self._grace.active():
            self._grace.cancel()

    def call_ended(self) -> None:
        """Check whether that was the last call."""
        if self._idle is not None and not self._deliveries.in_flight:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def end_grace(self) -> None:
        """End the grace period of this stop now, or as soon as it begins."""
        self._grace_ended = True
        if self._grace is not None and self._grace.active():
            self._grace.reset(0.0)

    async def leave(self) -> int:
        """Settle the outcomes and unregister; return how many messages were handed back.

        Other dispatchers rescue the messages whose outcomes the store does not accept in time.
        """
        handed_back = 0
        try:
            flushed = self._settlements.flush()
            await flushed.addTimeout(2 * self._deadline_seconds, self._reactor)
            await self._stop_writing()
            if self._settlements.refused:
                # The lease stays until other dispatchers rescue it, and they count it as called.
                problem = (
                    f"outcomes that cannot be written: {self._settlements.refused}; "
                    "other dispatchers rescue their messages"
                )
                self._outage.failed("leave", problem, 0.0)
            else:
                handed_back = await self._heartbeat.unregister()
        except Exception as error:  # noqa: BLE001 - after any exception the process must end
            unsettled = self._settlements.kept + self._settlements.refused
            problem = f"{error!r}; {unsettled} outcomes are not written"
            self._outage.failed("leave", problem, 0.0)
            await self._stop_writing()
        self._grace_ended = False
        return handed_back

    async def _stop_writing(self) -> None:
        await gatherResults([*self._heartbeat.stop(), self._registration.stop(), self._settlements.stop()])

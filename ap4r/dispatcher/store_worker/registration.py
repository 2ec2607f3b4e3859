"""Registering again: after others took over this dispatcher's leases, or after the answer to a claim was lost."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.heartbeat import CallsInFlight, Heartbeat
from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.store_outage import LoopFailures
from ap4r.dispatcher.store_worker.worker_state import Holdings, WorkerListener, WorkerStatus
from ap4r.events.bus import Events
from ap4r.events.events import OwnerWasLost


class Registration:
    """Keeps this dispatcher registered."""

    def __init__(
        self,
        heartbeat: Heartbeat,
        clock: IReactorTime,
        failures: LoopFailures,
        events: Events,
        status: WorkerStatus,
        holdings: Holdings,
        calls: CallsInFlight,
        listener: WorkerListener,
    ) -> None:
        self._heartbeat = heartbeat
        self._events = events
        self._status = status
        self._holdings = holdings
        self._calls = calls
        self._listener = listener
        self._renewing = Loop(clock, "register", self._renew, failures)

    def start(self) -> None:
        """Register again from now on when needed. The first registration was made before."""
        self._renewing.start()

    def stop(self) -> Deferred[None]:
        """Stop registering again; the Deferred fires when a running turn has ended."""
        return self._renewing.stop()

    def lose(self, owner: str) -> None:
        """Register again, because the store does not have this owner id any more: its leases belong to others."""
        if owner == self._heartbeat.owner and self._heartbeat.registered:
            self._heartbeat.registered = False
            self._calls.cut_all()
            self._renewing.wake()

    def doubt(self) -> None:
        """Register again as soon as nothing is held, because the answer to a claim was lost.

        The messages of that claim belong to this owner id as long as it beats, and are not called. When everything
        else is settled, unregistering hands them back.
        """
        self._status.doubted()
        self.emptied()

    def emptied(self) -> None:
        """Check whether nothing is held any more."""
        if self._status.in_doubt and self._holdings.is_empty:
            self._renewing.wake()

    async def _renew(self) -> None:
        doubted, owner = self._status.in_doubt, self._heartbeat.owner
        if doubted:
            if not self._holdings.is_empty:
                return
            if not self._holdings.refused:
                await self._heartbeat.unregister()
            # Otherwise the old registration is left until others consider it dead: the rescue counts its messages as
            # called.
        elif self._heartbeat.registered:
            return
        await self._heartbeat.register()
        if not doubted and owner:
            self._events.emit(OwnerWasLost(self._heartbeat.owner))
        self._status.registered_again()
        self._listener.registered_again()

"""The store worker: it delivers the messages of one store, independently of the other stores of its process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import gatherResults

from ap4r.dispatcher.clock.clock_watch import RunningTime
from ap4r.dispatcher.delivery.deliveries import Deliveries
from ap4r.dispatcher.delivery.delivery_settings import DeliverySettings
from ap4r.dispatcher.dependencies import Dependencies
from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.flow_control import FlowControl
from ap4r.dispatcher.flow.hold_report import HeldReport
from ap4r.dispatcher.flow.store_shares import StoreShares
from ap4r.dispatcher.http_client.client import HttpClient
from ap4r.dispatcher.http_server.health import LATE_SECONDS
from ap4r.dispatcher.store_worker.claim_budget import ClaimBudget
from ap4r.dispatcher.store_worker.claim_loop import ClaimLoop
from ap4r.dispatcher.store_worker.heartbeat import BeatAge, Heartbeat
from ap4r.dispatcher.store_worker.hold_report_loop import HoldReportLoop
from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.poll_loop import PollLoop
from ap4r.dispatcher.store_worker.prune_loop import PruneLoop
from ap4r.dispatcher.store_worker.registration import Registration
from ap4r.dispatcher.store_worker.settle_loop import SettleLoop
from ap4r.dispatcher.store_worker.shutdown import Shutdown
from ap4r.dispatcher.store_worker.store_outage import LoopFailures, StoreOutage
from ap4r.dispatcher.store_worker.store_thread import OwnThread, StoreThread
from ap4r.dispatcher.store_worker.worker_state import Holdings, WorkerState, WorkerStatus
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.dispatcher.wsdl.cache import DescriptionCache
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.settings.settings import Settings
from ap4r.storage.store import Store
from ap4r.version import __version__

_STATE_WORDS = {
    WorkerState.OPENING: "waiting for the store",
    WorkerState.WORKING: "working",
    WorkerState.IN_DOUBT: "working",
    WorkerState.DRAINING: "stopping",
    WorkerState.CLOSED: "stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedServices:
    """What all store workers of a process share."""

    reactor: Any
    events: Events
    around: Dependencies
    limit: ConcurrencyLimit
    shares: StoreShares
    held: HeldReport
    upstreams: Mapping[str, Upstream]
    transport: HttpClient
    terms: DeliverySettings
    descriptions: DescriptionCache
    time: RunningTime


class StoreWorker:
    """Delivers the messages of one store.

    Its parts are built in the order in which they need each other. What a part has to report to one that is built
    later, it reports to the worker (`WorkerListener`, `DeliveriesListener`, `SharingStore`, `OwnerListener`).
    """

    def __init__(self, store: Store, settings: Settings, shared: SharedServices) -> None:
        reactor, events, around = shared.reactor, shared.events, shared.around
        deadline_seconds = settings.store_deadline_seconds
        self._events = events
        self._shares = shared.shares
        self._status = WorkerStatus()
        outage = StoreOutage(store.name, reactor, events)
        failures = LoopFailures(outage, events, self)
        threads = around.make_workers(store) if around.make_workers else OwnThread(reactor, "ap4r-store")
        self.store = StoreThread(store, reactor, threads, outage, deadline_seconds=deadline_seconds, time=shared.time)
        beat_age = BeatAge(around.boottime)
        flow = FlowControl(shared.limit)
        self._settlements = SettleLoop(self.store, reactor, failures, events, self)
        self._deliveries = Deliveries(
            reactor, shared.transport, events, flow, shared.upstreams, shared.terms, shared.descriptions,
            settling=self._settlements, permission=beat_age, listener=self, random=around.random, now=around.now,
        )  # fmt: skip
        holdings = Holdings(self._deliveries, self._settlements, self._status)
        self._heartbeat = Heartbeat(
            self.store, reactor, failures, beat_age, holdings, self._deliveries,
            make_owner=around.make_owner, name=f"{socket.gethostname()}:{os.getpid()}", version=__version__,
        )  # fmt: skip
        self._registration = Registration(
            self._heartbeat, reactor, failures, events, self._status, holdings, self._deliveries, self
        )
        budget = ClaimBudget(reactor, shared.limit, shared.shares, self, self._deliveries, self._settlements)
        self._claims = ClaimLoop(
            self.store, reactor, failures, events, self._heartbeat, beat_age, self._status, budget, flow,
            self._deliveries, self,
        )  # fmt: skip
        self._poll = PollLoop(self.store, reactor, failures, events, self._heartbeat, self._claims)
        self._hold_reports = HoldReportLoop(self.store, reactor, failures, flow, shared.held, self._heartbeat)
        self._pruning = PruneLoop(self.store, reactor, failures, self._deliveries)
        self._shutdown = Shutdown(
            reactor, self._deliveries, self._settlements, self._heartbeat, self._registration, outage,
            deadline_seconds=deadline_seconds,
        )  # fmt: skip
        self._opening = Loop(reactor, "open", self._open, failures)
        self._shares.join(self)

    @property
    def state(self) -> WorkerState:
        """What the worker does now."""
        return self._status.state

    def advertise(self, bell: str | Callable[[str], str]) -> None:
        """Set the doorbell's address for the writers of this store, from the next registration on.

        :param bell: the address, or a function from the local address of a connection to the store.
        """
        if isinstance(bell, str):
            self._heartbeat.bell = bell
        else:
            self._heartbeat.bell_for = bell

    def ring(self) -> None:
        """Claim soon, because a bell rang."""
        self._claims.ring()

    def start(self) -> None:
        """Start working as soon as the store can be reached."""
        self._status.opening()
        self._deliveries.start()
        self.store.start()
        self._settlements.start()
        self._opening.start()

    def wake(self) -> None:
        """Claim messages that may be called by now."""
        self._claims.wake()

    def clocks_changed(self) -> None:
        """Poll the store: other messages may be due, and others may consider this dispatcher dead."""
        if self._status.is_open:
            self._heartbeat.beat_now()
            self._poll.wake()
            self._claims.wake()

    def reload(self, terms: DeliverySettings) -> None:
        """Apply changed settings of deliveries."""
        self._deliveries.terms = terms
        self._claims.wake()

    def facts(self) -> dict[str, Any]:
        """Return the condition of this worker, for /healthz."""
        late_seconds = max(self._claims.late_seconds(), self._poll.late_seconds())
        return {
            "store": self.store.store.name,
            "ok": self._status.is_open and late_seconds <= LATE_SECONDS,
            "state": _STATE_WORDS[self.state],
            "problem": self.store.outage.problem,
            "owner": self._heartbeat.owner,
            "late_seconds": round(late_seconds, 3),
            "in_flight": self._deliveries.in_flight,
            "feeds_itself": self._deliveries.chains.queues(self._deliveries.clock.seconds()),
            "unsettled": self._settlements.kept + self._settlements.refused,
        }

    async def stop(self, grace_seconds: float) -> None:
        """Stop claiming, let calls end within the grace period, settle, unregister."""
        self._status.draining()
        self._deliveries.drain()
        owner, name = self._heartbeat.owner, self.store.store.name
        self._events.emit(happened.DispatcherStopping(owner, name, self._deliveries.in_flight, grace_seconds))
        await gatherResults([self._opening.stop(), self._claims.stop(), self._poll.stop(), self._pruning.stop()])
        await self._hold_reports.stop()
        # A claim that ran until now may have brought more.
        self._deliveries.put_back_waiting()
        await self._shutdown.wait_for_calls(grace_seconds)
        handed_back = await self._shutdown.leave()
        self._status.closed()
        self._events.emit(happened.DispatcherStopped(owner, name, handed_back))

    def end_grace(self) -> None:
        """End the grace period of a stop now."""
        if self.state is WorkerState.DRAINING:
            self._shutdown.end_grace()

    def close(self) -> None:
        """Close the store, after its running call has ended."""
        self.store.stop()
        self.store.store.close()

    async def _open(self) -> None:
        await self.store.run("open", self.store.store.prepare)
        if self.state is WorkerState.OPENING:
            await self._heartbeat.register()
        # A stop that has begun by now waits for this turn, and then unregisters.
        if not self._status.opened():
            return
        self._events.emit(
            happened.DispatcherStarted(self._heartbeat.owner, self.store.store.name, self._heartbeat.bell)
        )
        self._heartbeat.start()
        self._registration.start()
        self._poll.start()
        self._claims.start()
        self._pruning.start(1.0)
        self._hold_reports.start()

    # OwnerListener and WorkerListener: reports of the loops.

    def owner_lost(self, owner: str) -> None:
        """Register again, because the store no longer knows this owner id."""
        self._registration.lose(owner)

    def claim_in_doubt(self) -> None:
        """Claim nothing until the worker is registered again, because the answer to a claim was lost."""
        self._registration.doubt()

    def registered_again(self) -> None:
        """Claim again."""
        self._claims.wake()

    def outcomes_settled(self, put_back: bool) -> None:
        """Use the room of the settled messages."""
        if put_back:
            # Its target may have been released in the meantime, and only now can it be claimed again.
            self._claims.wake()
        self.room_freed()
        self._registration.emptied()

    # DeliveriesListener: reports of the deliveries.

    def call_ended(self) -> None:
        """Offer the room of the call to all stores."""
        self._shares.call_ended()
        self._shutdown.call_ended()

    def origin_released(self) -> None:
        """Wake all stores, so that they claim messages that may be called by now."""
        self._shares.origin_released()

    # SharingStore: this store among those of the process.

    @property
    def held(self) -> int:
        """The number of its messages that are held."""
        return self._deliveries.held

    @property
    def wants_more(self) -> bool:
        """Whether it would claim more if it had room."""
        return self._claims.wants_more

    @property
    def failing(self) -> bool:
        """Whether its claims fail."""
        return self._claims.failing

    def room_freed(self) -> None:
        """Call waiting messages, and claim more."""
        self._deliveries.begin_waiting()
        self._claims.freed()

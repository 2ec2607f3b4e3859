"""One store being drained: its own loops put together, started and ended, so that its troubles are nobody else's.

What all stores of a process have in common is given: the limit and how it is shared, the transport, the upstreams.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import gatherResults

from ap4r import __version__
from ap4r.dispatcher.clock.clock_watch import RunningTime
from ap4r.dispatcher.delivery.deliveries import Deliveries
from ap4r.dispatcher.delivery.delivery_settings import DeliverySettings
from ap4r.dispatcher.dependencies import Dependencies
from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.hold_report import HeldReport
from ap4r.dispatcher.flow.lane_index import LaneIndex
from ap4r.dispatcher.flow.store_shares import StorePart, StoreShares
from ap4r.dispatcher.http_client.client import HttpClient
from ap4r.dispatcher.http_server.health import LATE_SECONDS
from ap4r.dispatcher.store_worker.claim_budget import ClaimBudget
from ap4r.dispatcher.store_worker.claim_loop import ClaimLoop, ClaimTurns
from ap4r.dispatcher.store_worker.heartbeat import Heartbeat
from ap4r.dispatcher.store_worker.hold_report_loop import HeldLoop
from ap4r.dispatcher.store_worker.loop import Loop, Report
from ap4r.dispatcher.store_worker.poll_loop import Poll
from ap4r.dispatcher.store_worker.prune_loop import PruneLoop
from ap4r.dispatcher.store_worker.registration import Registration
from ap4r.dispatcher.store_worker.settle_loop import SettleLoop
from ap4r.dispatcher.store_worker.shutdown import Shutdown
from ap4r.dispatcher.store_worker.store_outage import StoreOutage
from ap4r.dispatcher.store_worker.store_thread import OwnThread, StoreThread
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.dispatcher.wsdl.cache import DescriptionCache
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.settings.settings import Settings
from ap4r.storage.store import Lease, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedServices:
    """What the stores of a process have in common."""

    reactor: Any
    events: Events
    around: Dependencies
    limit: ConcurrencyLimit
    share: StoreShares
    held: HeldReport
    upstreams: Mapping[str, Upstream]
    transport: HttpClient
    terms: DeliverySettings
    descriptions: DescriptionCache
    time: RunningTime


class StoreWorker:
    """Delivers the messages of one store."""

    # What is made later than those who ask for it.
    _claims: ClaimLoop
    _room: ClaimBudget

    def __init__(self, store: Store, settings: Settings, common: SharedServices) -> None:
        reactor, events, around = common.reactor, common.events, common.around
        self._reactor = reactor
        self._events = events
        self._limit, self._share = common.limit, common.share
        make_workers = around.make_workers or (lambda store: OwnThread(reactor, "ap4r-store"))
        outage = StoreOutage(store.name, reactor, events)
        self.store = StoreThread(
            store,
            reactor,
            make_workers(store),
            outage,
            deadline_seconds=settings.store_deadline_seconds,
            time=common.time,
        )
        self._heartbeat = Heartbeat(
            self.store, reactor, self._report("beat"), make_owner=around.make_owner, holds=self._holds,
            drop=self._drop, name=f"{socket.gethostname()}:{os.getpid()}", version=__version__,
            boottime=around.boottime,
        )  # fmt: skip
        self._place = Registration(
            self._heartbeat, reactor, self._report("register"), events,
            empty=self._empty, refused=lambda: self._settlements.refused, drop=self._drop, pause=self._pause,
        )  # fmt: skip
        self._lanes = LaneIndex(self._limit.holds)
        self._settlements = SettleLoop(self.store, reactor, self._report("settle"), events, self._settled)
        self._deliveries = Deliveries(
            reactor, common.transport, events, self._limit, self._lanes, common.upstreams, common.terms,
            common.descriptions,
            settle=self._settlements.add, freed=self._freed, released=self._share.released,
            may_call=self._may_begin, may_write=self._heartbeat.may_call, full=lambda: self._room.is_used_up,
            random=around.random, now=around.now,
        )  # fmt: skip
        self._part = StorePart(
            held=lambda: self._deliveries.held, hungry=lambda: self._claims.hungry,
            ill=lambda: self._claims.ill, freed=self._more_room, released=self.wake,
        )  # fmt: skip
        self._share.join(self._part)
        self._room = ClaimBudget(reactor, self._limit, self._share, self._part, self._deliveries, self._settlements)
        self._leaving = Shutdown(
            reactor, self._deliveries, self._settlements, self._heartbeat, self._place, outage,
            deadline_seconds=settings.store_deadline_seconds,
        )  # fmt: skip
        self._claims = ClaimLoop(
            self.store, reactor, self._report("claim"), events, self._heartbeat,
            room=self._room.left, enough_room=self._room.enough, gather_seconds=self._room.gather_seconds,
            turns=self._turns, full=self._is_full, is_stuck=self._limit.is_stuck,
            stuck_at=self._limit.stuck_at, next_probe_at=self._limit.next_probe_at,
            take=self._take, in_doubt=self._place.doubt, ask=self._ask, answered=self._answered,
        )  # fmt: skip
        self._poll = Poll(
            self.store, reactor, self._report("look"), events, own=lambda: self._heartbeat.owner,
            looked=self._claims.looked, rescued=self._claims.wake,
        )  # fmt: skip
        self._held_loop = HeldLoop(
            self.store, reactor, self._report("report"), self._limit.holds,
            lambda: common.held.of_store(self._lanes.knows, reactor.seconds()), lambda: self._heartbeat.owner,
        )  # fmt: skip
        self._pruning = PruneLoop(self.store, reactor, self._report("prune"), self._was_busy)
        self._opening = Loop(reactor, self._open, self._report("open"))
        self._busy = False
        self._working = False
        self._stopping = False

    def advertise(self, bell: str | Callable[[str], str]) -> None:
        """Tell this store's writers where the doorbell is, from the next registration on.

        :param bell: its address, or what returns it by the address from which this host reaches the store.
        """
        if isinstance(bell, str):
            self._heartbeat.bell = bell
        else:
            self._heartbeat.bell_for = bell

    def ring(self) -> None:
        """Note a bell."""
        self._claims.ring()

    def start(self) -> None:
        """Begin to work as soon as the store can be reached."""
        self._stopping = False
        self.store.start()
        self._settlements.start()
        self._opening.start()

    def wake(self) -> None:
        """Look for what may be called by now."""
        self._claims.wake()

    def clocks_changed(self) -> None:
        """Look at the store again: what is due, and whether others took us for dead, may be another thing now."""
        if self._working and not self._stopping:
            self._heartbeat.beat_now()
            self._poll.wake()
            self._claims.wake()

    def reload(self, terms: DeliverySettings) -> None:
        """Take over changed settings of delivering."""
        self._deliveries.terms = terms
        self._claims.wake()

    def facts(self) -> dict[str, Any]:
        """Tell how it goes, for /healthz."""
        late_seconds = max(self._claims.late_seconds(), self._poll.late_seconds())
        working = self._working and not self._stopping
        return {
            "store": self.store.store.name,
            "ok": working and late_seconds <= LATE_SECONDS,
            "state": "stopping" if self._stopping else "working" if working else "waiting for the store",
            "problem": self.store.outage.problem,
            "owner": self._heartbeat.owner,
            "late_seconds": round(late_seconds, 3),
            "in_flight": self._deliveries.in_flight,
            "feeds_itself": self._deliveries.chains.queues(self._deliveries.clock.seconds()),
            "unsettled": self._settlements.kept + self._settlements.refused,
        }

    async def stop(self, grace_seconds: float) -> None:
        """Claim no more, let calls end within the grace, settle, leave the store."""
        self._stopping = True
        owner, name = self._heartbeat.owner, self.store.store.name
        self._events.emit(happened.DispatcherStopping(owner, name, self._deliveries.in_flight, grace_seconds))
        await gatherResults([self._opening.stop(), self._claims.stop(), self._poll.stop(), self._pruning.stop()])
        await self._held_loop.stop()
        self._deliveries.put_back_waiting()
        await self._leaving.wait_for_calls(grace_seconds)
        handed_back = await self._leaving.leave()
        self._working = False
        self._events.emit(happened.DispatcherStopped(owner, name, handed_back))

    def hurry(self) -> None:
        """End the grace of a stop now."""
        if self._stopping:
            self._leaving.hurry()

    def close(self) -> None:
        """Let go of the store. A call of it that still runs is waited for."""
        self.store.stop()
        self.store.store.close()

    async def _open(self) -> None:
        await self.store.run("open", self.store.store.prepare)
        await self._heartbeat.register()
        if self._stopping:
            return
        self._working = True
        self._events.emit(
            happened.DispatcherStarted(self._heartbeat.owner, self.store.store.name, self._heartbeat.bell)
        )
        self._heartbeat.start()
        self._place.start()
        self._poll.start()
        self._claims.start()
        self._pruning.start(1.0)
        self._held_loop.start()

    def _holds(self) -> bool:
        return self._place.doubted or not self._empty() or bool(self._settlements.refused)

    def _empty(self) -> bool:
        return not self._deliveries.held and not self._settlements.kept

    def _more_room(self) -> None:
        self._deliveries.begin_waiting()
        self._claims.freed()

    def _turns(self, room: int) -> ClaimTurns:
        now, limit, lanes = self._reactor.seconds(), self._limit, self._lanes
        limit.holds.advance(now)
        full = limit.full_origins(now)
        yielding = limit.yielding(room, now)
        excluded = lanes.excluded()
        return ClaimTurns(excluded | lanes.of(full) if full else excluded, lanes.of(yielding.origins), yielding.most)

    def _is_full(self) -> bool:
        return self._limit.full(self._reactor.seconds())

    def _may_begin(self) -> bool:
        return not self._stopping and self._heartbeat.may_call()

    def _ask(self, count: int) -> None:
        self._share.ask(self._part, count)

    def _answered(self) -> None:
        self._share.answered(self._part)

    def _take(self, leases: tuple[Lease, ...], claimed_at: float) -> None:
        self._busy = True
        self._deliveries.take(leases, claimed_at)
        self._heartbeat.holding()

    def _freed(self) -> None:
        self._share.freed()
        self._leaving.freed()

    def _settled(self, put_back: bool) -> None:
        if put_back:
            # By now its target may have been released, and only from now on it can be claimed again.
            self._claims.wake()
        self._more_room()
        self._place.emptied()

    def _pause(self, paused: bool) -> None:
        self._claims.paused = paused
        if not paused:
            self._claims.wake()

    def _drop(self) -> None:
        # Others may take us for dead from now on: no call may go on, whatever it brings.
        self._deliveries.cut_all()

    def _was_busy(self) -> bool:
        busy, self._busy = self._busy, False
        return busy

    def _report(self, doing: str) -> Report:
        return self.store.outage.report(doing, lambda owner: self._place.lose(owner))

"""The dispatcher as one Twisted service: its parts put together, started, reloaded and drained.

Each part decides for itself; this module only says who hears whom, and in which order things end.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.web.iweb import IAgentEndpointFactory

from ap4r import __version__
from ap4r import events as happened
from ap4r.dispatcher.balance import Upstream
from ap4r.dispatcher.bell import Bell, parse_bell
from ap4r.dispatcher.claim import Claims
from ap4r.dispatcher.deliver import Deliveries
from ap4r.dispatcher.endpoint import Endpoints
from ap4r.dispatcher.health import LATE_SECONDS
from ap4r.dispatcher.heartbeat import Heartbeat
from ap4r.dispatcher.lanes import Lanes
from ap4r.dispatcher.limit import Limit
from ap4r.dispatcher.loop import Loop, Report
from ap4r.dispatcher.outage import Outage
from ap4r.dispatcher.place import Place
from ap4r.dispatcher.poll import Poll
from ap4r.dispatcher.prune import Pruning
from ap4r.dispatcher.settle import BATCH, Settlements
from ap4r.dispatcher.store_thread import StoreThread, ThreadWorkers
from ap4r.dispatcher.surroundings import FIXED, Surroundings, bounds_of, terms_of
from ap4r.dispatcher.transport import Transport
from ap4r.settings import Settings
from ap4r.storage.store import Lease, Store
from ap4r.target import APP


class Dispatcher(Service):
    """Delivers the messages of one store.

    :param caps: the most calls in flight to an origin, for an application with few threads in this process.
    """

    name = "dispatcher"

    def __init__(
        self,
        reactor: Any,
        store: Store,
        settings: Settings,
        events: happened.Events,
        *,
        caps: Mapping[str, int] | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        around = surroundings or Surroundings()
        self._reactor = reactor
        self._settings = settings
        self._events = events
        self._around = around
        self._smallest_cap = min((caps or {}).values(), default=None)
        workers = around.workers or ThreadWorkers(reactor, 1, "ap4r-store")
        outage = Outage(store.name, reactor, events)
        self.store = StoreThread(store, reactor, workers, outage, deadline_seconds=settings.store_deadline_seconds)
        self._heartbeat = Heartbeat(
            self.store, reactor, self._report("beat"), make_owner=around.make_owner, holds=self._holds,
            drop=self._drop, name=f"{socket.gethostname()}:{os.getpid()}", version=__version__,
            boottime=around.boottime,
        )  # fmt: skip
        self._place = Place(
            self._heartbeat, reactor, self._report("register"), events,
            empty=self._empty, drop=self._drop, pause=self._pause,
        )  # fmt: skip
        self._limit = Limit(settings.concurrency, caps)
        self._lanes = Lanes()
        self._upstreams = {APP: Upstream(APP, settings.app_urls)}
        self._transport = Transport(
            reactor, self._endpoints(), bounds_of(settings), connections=settings.concurrency,
            may_write=self._heartbeat.may_call,
        )  # fmt: skip
        self._settlements = Settlements(self.store, reactor, self._report("settle"), events, self._settled)
        self._claims = Claims(
            self.store, reactor, self._report("claim"), events, self._heartbeat,
            room=self._room, enough_room=self._enough_room, excluded=self._excluded, full=self._limit.full,
            next_probe_at=self._limit.next_probe_at, take=self._take, in_doubt=self._place.doubt,
        )  # fmt: skip
        self._deliveries = Deliveries(
            reactor, self._transport, events, self._limit, self._lanes, self._upstreams, terms_of(settings),
            settle=self._settlements.add, freed=self._freed, released=self._claims.wake,
            may_call=self._may_begin, random=around.random, now=around.now,
        )  # fmt: skip
        self._poll = Poll(
            self.store, reactor, self._report("look"), events, own=lambda: self._heartbeat.owner,
            looked=self._claims.looked, rescued=self._claims.wake,
        )  # fmt: skip
        self._pruning = Pruning(self.store, reactor, self._report("prune"), self._was_busy)
        self._opening = Loop(reactor, self._open, self._report("open"))
        self._bell = Bell(self._claims.ring)
        self._busy = False
        self._open_since: float | None = None
        self._stopping = False
        self._idle: Deferred[None] | None = None
        self._grace: IDelayedCall | None = None

    def privilegedStartService(self) -> None:
        """Take the doorbell's port.

        :raises ConfigError: it is taken.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        address = parse_bell(self._settings.bell)
        if address is not None:
            self._heartbeat.bell = self._bell.listen(self._reactor, address)

    def startService(self) -> None:
        """Begin to work as soon as the store can be reached."""
        super().startService()  # type: ignore[no-untyped-call]
        self._stopping = False
        self.store.start()
        self._settlements.start()
        self._opening.start()

    def stopService(self) -> Deferred[None]:
        """Claim no more, let calls end within the grace, settle, leave the store."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """End the grace of a stop now."""
        if self._grace is not None and self._grace.active():
            self._grace.reset(0.0)

    def serve_app_at(self, urls: tuple[str, ...]) -> None:
        """Call the upstream `app` at these servers from now on."""
        self._upstreams[APP].replace_servers(urls)

    def reload(self, settings: Settings) -> None:
        """Take over changed settings, as far as that is possible without a restart."""
        old, self._settings = self._settings, settings
        changed = {spec.name for spec in fields(Settings) if getattr(old, spec.name) != getattr(settings, spec.name)}
        self._limit.concurrency = settings.concurrency
        if "app_urls" in changed:
            self.serve_app_at(settings.app_urls)
        endpoints = self._endpoints() if "connect_timeout_seconds" in changed else self._transport.endpoints
        self._transport.allow(settings.concurrency, endpoints, bounds_of(settings))
        self._deliveries.terms = terms_of(settings)
        self._events.emit(happened.DispatcherReloaded(self._heartbeat.owner))
        fixed = tuple(sorted(changed & FIXED))
        if fixed:
            self._events.emit(happened.RestartNeeded(fixed))
        self._claims.wake()

    def facts(self) -> dict[str, Any]:
        """Tell how this dispatcher is, for /healthz."""
        late_seconds = max(self._claims.late_seconds(), self._poll.late_seconds())
        working = self._open_since is not None and not self._stopping
        return {
            "ok": working and late_seconds <= LATE_SECONDS,
            "owner": self._heartbeat.owner,
            "version": __version__,
            "store": self.store.store.name,
            "state": "stopping" if self._stopping else "working" if working else "waiting for the store",
            "late_seconds": round(late_seconds, 3),
            "in_flight": self._deliveries.in_flight,
            "unsettled": self._settlements.kept,
            "held": {origin: round(left, 3) for origin, left in self._limit.held(self._reactor.seconds()).items()},
        }

    async def _open(self) -> None:
        await self.store.run("open", self.store.store.prepare)
        await self._heartbeat.register()
        if self._stopping:
            return
        self._open_since = self._reactor.seconds()
        self._events.emit(
            happened.DispatcherStarted(self._heartbeat.owner, self.store.store.name, self._heartbeat.bell)
        )
        self._heartbeat.start()
        self._place.start()
        self._poll.start()
        self._claims.start()
        self._pruning.start(1.0)

    def _holds(self) -> bool:
        return self._place.doubted or not self._empty()

    def _empty(self) -> bool:
        return not self._deliveries.in_flight and not self._settlements.kept

    def _room(self) -> int:
        deliveries, kept = self._deliveries.in_flight, self._settlements.kept
        return min(self._limit.room(), self._limit.concurrency + BATCH - deliveries - kept)

    def _enough_room(self) -> int:
        most = self._limit.concurrency
        if self._smallest_cap is not None:
            most = min(most, self._smallest_cap)
        return max(1, most // 4)

    def _excluded(self) -> frozenset[int]:
        return self._lanes.of(self._limit.closed(self._reactor.seconds()))

    def _may_begin(self) -> bool:
        return not self._stopping and self._heartbeat.may_call()

    def _take(self, leases: tuple[Lease, ...], claimed_at: float) -> None:
        self._busy = True
        self._deliveries.take(leases, claimed_at)
        self._heartbeat.holding()

    def _freed(self) -> None:
        self._claims.freed()
        if self._idle is not None and not self._deliveries.in_flight:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _settled(self, put_back: bool) -> None:
        if put_back:
            # By now its target may have been released, and only from now on it can be claimed again.
            self._claims.wake()
        self._claims.freed()
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

    def _endpoints(self) -> IAgentEndpointFactory:
        return self._around.endpoints or Endpoints(self._reactor, self._settings.connect_timeout_seconds)

    async def _stop(self) -> None:
        self._stopping = True
        owner, grace_seconds = self._heartbeat.owner, self._settings.grace_seconds
        self._events.emit(happened.DispatcherStopping(owner, self._deliveries.in_flight, grace_seconds))
        await gatherResults([self._opening.stop(), self._claims.stop(), self._poll.stop(), self._pruning.stop()])
        if self._deliveries.in_flight:
            self._idle = Deferred()
            self._grace = self._reactor.callLater(grace_seconds, self._deliveries.cut_all)
            await self._idle
            if self._grace.active():
                self._grace.cancel()
        handed_back = await self._leave()
        self._bell.stop()
        self._transport.close()
        self.store.stop()
        self.store.store.close()
        self._open_since = None
        self._events.emit(happened.DispatcherStopped(owner, handed_back))

    async def _leave(self) -> int:
        """Settle what is kept and give up our place; what the store does not take in time is found by others."""
        handed_back = 0
        try:
            within_seconds = 2 * self._settings.store_deadline_seconds
            flushed = self._settlements.flush()
            await flushed.addTimeout(within_seconds, self._reactor)
            await self._stop_writing()
            handed_back = await self._heartbeat.unregister()
        except Exception as error:  # noqa: BLE001 - whatever it is, the process must end
            unsettled = self._settlements.kept
            problem = f"{error!r}; {unsettled} outcomes are not written down"
            self.store.outage.failed("leave", problem, 0.0)
            await self._stop_writing()
        return handed_back

    async def _stop_writing(self) -> None:
        await gatherResults([*self._heartbeat.stop(), self._place.stop(), self._settlements.stop()])

"""The dispatcher as one Twisted service: its stores and what they share, started, reloaded and drained.

Each store has its own loops (`ap4r.dispatcher.store_worker.worker`); this module has what exists once in a process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults

from ap4r.dispatcher.clock.clock_watch import ClockWatch, RunningTime
from ap4r.dispatcher.compute.process_pool import DESCRIBING_PROCESSES, Processes
from ap4r.dispatcher.delivery.caller_identity import CallerIdentity
from ap4r.dispatcher.delivery.response_reading import READING_PROCESSES, AnswerReading
from ap4r.dispatcher.dependencies import Dependencies, bounds_of, describing_of, terms_of
from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.hold_report import HeldReport
from ap4r.dispatcher.flow.store_shares import StoreShares
from ap4r.dispatcher.http_client.client import HttpClient
from ap4r.dispatcher.store_worker.doorbell_listener import DoorbellListeners
from ap4r.dispatcher.store_worker.worker import SharedServices, StoreWorker
from ap4r.dispatcher.upstreams.health_checks import HealthChecks
from ap4r.dispatcher.upstreams.server_routes import ServerRoutes
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.dispatcher.wsdl.cache import DescriptionCache
from ap4r.dispatcher.wsdl.fetch import DocumentFetcher
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.message.target import APP, Target
from ap4r.settings.settings import NEED_RESTART, Settings
from ap4r.signing.signing import fingerprints
from ap4r.storage.store import Store
from ap4r.version import __version__


class Dispatcher(Service):
    """Delivers the messages of one store or several.

    :param caps: the most calls in flight to an origin, for an application with few threads in this process.
    """

    name = "dispatcher"

    def __init__(
        self,
        reactor: Any,
        stores: Sequence[Store],
        settings: Settings,
        events: Events,
        *,
        caps: Mapping[str, int] | None = None,
        surroundings: Dependencies | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = self._started_with = settings
        self._events = events
        self._around = surroundings or Dependencies()
        self._clocks = ClockWatch(
            reactor, events, self._clocks_changed, wall=self._around.now, boottime=self._around.boottime
        )
        self._limit = ConcurrencyLimit(settings.concurrency, caps)
        self._held = HeldReport(self._limit, self._around.now)
        self._routes = ServerRoutes(reactor, settings, self._around.endpoints)
        self._upstreams: dict[str, Upstream] = {}
        self._app_servers: tuple[str, ...] = ()
        self._set_upstreams(settings)
        self._transport = HttpClient(
            reactor, self._routes.others.endpoints, bounds_of(settings), connections=settings.concurrency,
            time=self._clocks.running_time,
        )  # fmt: skip
        self._terms = terms_of(settings, self._routes)
        called = (self._transport, self._routes, self._upstreams, self._caller_of)
        self._checks = HealthChecks(reactor, *called, events, self._returned)
        self._documents = DocumentFetcher(*called, self._around.random)
        self._documents.copies = dict(settings.wsdl_copies)
        computing = self._around.computing or Processes(reactor, DESCRIBING_PROCESSES)
        answers = AnswerReading(self._around.computing or Processes(reactor, READING_PROCESSES))
        self._descriptions = DescriptionCache(reactor, computing, self._documents, describing_of(settings), answers)
        shared = SharedServices(
            reactor=reactor, events=events, around=self._around, limit=self._limit, shares=StoreShares(self._limit),
            held=self._held,
            upstreams=self._upstreams, transport=self._transport, terms=self._terms,
            descriptions=self._descriptions, time=self._clocks.running_time,
        )  # fmt: skip
        self.workers = tuple(StoreWorker(store, settings, shared) for store in stores)
        self._bells = DoorbellListeners(reactor, settings.bell, self._ring)

    def privilegedStartService(self) -> None:
        """Open the doorbell's port, if the setting names one.

        :raises ConfigError: it is in use.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        bell = self._bells.listen()
        for worker in self.workers:
            worker.advertise(bell)

    def startService(self) -> None:
        """Start working on each store as soon as it can be reached."""
        super().startService()  # type: ignore[no-untyped-call]
        self._clocks.start()
        self._checks.start(self._settings.upstreams)
        for worker in self.workers:
            worker.start()

    def stopService(self) -> Deferred[None]:
        """Stop claiming, let calls end within the grace period, settle, leave the stores."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def end_grace(self) -> None:
        """End the grace period of a stop now."""
        for worker in self.workers:
            worker.end_grace()

    @property
    def running_time(self) -> RunningTime:
        """The time that deadlines in this process use."""
        return self._clocks.running_time

    def serve_app_at(self, urls: tuple[str, ...]) -> None:
        """Use these servers for the upstream `app` from now on."""
        self._app_servers = urls
        self._upstreams[APP].replace_servers(urls)

    def refuse_own(self, host: str, port: int) -> None:
        """Record where this process listens: nothing is delivered there."""
        self._routes.own.listen(host, port)

    def reload(self, settings: Settings) -> None:
        """Apply changed settings, as far as that is possible without a restart.

        :raises ConfigError: a file, a secret or a callable that they refer to is missing; nothing has changed then.
        """
        planned, terms = self._routes.planned(settings), terms_of(settings, self._routes)
        describing = describing_of(settings)
        self._routes.take(planned)
        self._terms = terms
        self._settings = settings
        self._descriptions.rules, self._documents.copies = describing, dict(settings.wsdl_copies)
        self._limit.concurrency = settings.concurrency
        self._set_upstreams(settings)
        self._transport.allow(settings.concurrency, self._routes.others.endpoints, bounds_of(settings))
        if self.running:
            self._checks.start(settings.upstreams)
        self._events.emit(happened.DispatcherReloaded(tuple(worker.store.store.name for worker in self.workers)))
        # Compared with the settings in use, not with those read last: a change may be undone before the restart.
        fixed = [name for name in NEED_RESTART if getattr(self._started_with, name) != getattr(settings, name)]
        if fixed:
            self._events.emit(happened.RestartNeeded(tuple(fixed)))
        for worker in self.workers:
            worker.reload(terms)

    def facts(self) -> dict[str, Any]:
        """Return the facts for /healthz: the dispatcher is healthy when it is healthy with each of its stores."""
        stores = [worker.facts() for worker in self.workers]
        return {
            "ok": all(store["ok"] for store in stores),
            "version": __version__,
            "in_flight": self._limit.in_flight,
            "stood_still_seconds": round(self._clocks.longest_standstill_seconds(), 3),
            "signing": fingerprints(self._settings.secrets),
            **self._held.facts(self._reactor.seconds()),
            "stores": stores,
        }

    def _clocks_changed(self) -> None:
        for worker in self.workers:
            worker.clocks_changed()

    def _ring(self) -> None:
        # A bell has no content, not even its store.
        for worker in self.workers:
            worker.ring()

    def _set_upstreams(self, settings: Settings) -> None:
        for one in settings.upstreams:
            servers = self._app_servers or one.servers if one.name == APP else one.servers
            weights = dict(one.weights)
            if one.name in self._upstreams:
                self._upstreams[one.name].replace_servers(servers, weights, one.balance)
            else:
                self._upstreams[one.name] = Upstream(one.name, servers, weights, one.balance)
        for name in set(self._upstreams) - {one.name for one in settings.upstreams}:
            del self._upstreams[name]

    def _caller_of(self, target: Target) -> CallerIdentity:
        return self._terms.callers.of(target)

    def _returned(self, upstream: str) -> None:
        self._limit.holds.cut_short(upstream, self._reactor.seconds())
        for worker in self.workers:
            worker.wake()

    async def _stop(self) -> None:
        grace_seconds = self._settings.grace_seconds
        await gatherResults([Deferred.fromCoroutine(worker.stop(grace_seconds)) for worker in self.workers])
        await self._clocks.stop()
        self._bells.stop()
        self._checks.stop()
        self._transport.close()
        self._descriptions.stop()
        # Only now: a thread that waits for one store must not delay the end of the others' calls.
        for worker in self.workers:
            worker.close()

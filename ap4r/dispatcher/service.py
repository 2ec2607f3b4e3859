"""The dispatcher as one Twisted service: its stores and what they have in common, started, reloaded and drained.

Each store has its own loops (`ap4r.dispatcher.drain`); here is what there is one of in a process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.iweb import IAgentEndpointFactory

from ap4r import __version__
from ap4r import events as happened
from ap4r.dispatcher.balance import Upstream, url_of
from ap4r.dispatcher.bell import Bell, parse_bell
from ap4r.dispatcher.descriptions import Descriptions, fetch_with
from ap4r.dispatcher.drain import Common, Drain
from ap4r.dispatcher.endpoint import Endpoints
from ap4r.dispatcher.limit import Limit
from ap4r.dispatcher.share import Share
from ap4r.dispatcher.store_thread import ThreadWorkers
from ap4r.dispatcher.surroundings import FIXED, Surroundings, bounds_of
from ap4r.dispatcher.transport import Transport
from ap4r.settings import Settings
from ap4r.signing import fingerprints
from ap4r.storage.store import Store
from ap4r.target import APP


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
        events: happened.Events,
        *,
        caps: Mapping[str, int] | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._events = events
        self._around = surroundings or Surroundings()
        self._limit = Limit(settings.concurrency, caps)
        self._upstreams = {APP: Upstream(APP, settings.app_urls)}
        self._transport = Transport(
            reactor, self._endpoints(), bounds_of(settings), connections=settings.concurrency
        )  # fmt: skip
        self._descriptions = Descriptions(
            reactor, self._around.readers or ThreadWorkers(reactor, 1, "ap4r-descriptions"),
            fetch_with(self._transport), lambda target: url_of(self._upstreams, target, reactor.seconds()),
        )  # fmt: skip
        common = Common(
            reactor=reactor, events=events, around=self._around, limit=self._limit, share=Share(self._limit),
            upstreams=self._upstreams, transport=self._transport, descriptions=self._descriptions,
        )  # fmt: skip
        self.drains = tuple(Drain(store, settings, common) for store in stores)
        self._bell = Bell(self._ring)

    def privilegedStartService(self) -> None:
        """Take the doorbell's port.

        :raises ConfigError: it is taken.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        address = parse_bell(self._settings.bell)
        if address is not None:
            bell = self._bell.listen(self._reactor, address)
            for drain in self.drains:
                drain.listen(bell)

    def startService(self) -> None:
        """Begin to work on each store as soon as it can be reached."""
        super().startService()  # type: ignore[no-untyped-call]
        for drain in self.drains:
            drain.start()

    def stopService(self) -> Deferred[None]:
        """Claim no more, let calls end within the grace, settle, leave the stores."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """End the grace of a stop now."""
        for drain in self.drains:
            drain.hurry()

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
        self._events.emit(happened.DispatcherReloaded(tuple(drain.store.store.name for drain in self.drains)))
        fixed = tuple(sorted(changed & FIXED))
        if fixed:
            self._events.emit(happened.RestartNeeded(fixed))
        for drain in self.drains:
            drain.reload(settings)

    def facts(self) -> dict[str, Any]:
        """Tell how this dispatcher is, for /healthz: it is well when it is well with each of its stores."""
        stores = [drain.facts() for drain in self.drains]
        return {
            "ok": all(store["ok"] for store in stores),
            "version": __version__,
            "in_flight": self._limit.in_flight,
            "signing": fingerprints(self._settings.secrets),
            "held": {origin: round(left, 3) for origin, left in self._limit.held(self._reactor.seconds()).items()},
            "stores": stores,
        }

    def _ring(self) -> None:
        # A bell says nothing, not even whose it is.
        for drain in self.drains:
            drain.ring()

    def _endpoints(self) -> IAgentEndpointFactory:
        return self._around.endpoints or Endpoints(self._reactor, self._settings.connect_timeout_seconds)

    async def _stop(self) -> None:
        grace_seconds = self._settings.grace_seconds
        await gatherResults([Deferred.fromCoroutine(drain.stop(grace_seconds)) for drain in self.drains])
        self._bell.stop()
        self._transport.close()
        self._descriptions.stop()
        # Only now: a thread that a store keeps waiting must not hold up the end of the others' calls.
        for drain in self.drains:
            drain.close()

"""Active health checks: each server of an upstream with `check` is requested regularly.

A server whose check fails is ejected until one passes; then its share of calls grows back gradually.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ap4r.dispatcher.delivery.caller_identity import CallerIdentity
from ap4r.dispatcher.delivery.request import USER_AGENT, Request, host_of, shown
from ap4r.dispatcher.http_client.client import HttpClient
from ap4r.dispatcher.http_client.headers import header_lines
from ap4r.dispatcher.upstreams.server_routes import ServerRoutes
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.message.target import Target
from ap4r.outcome.outcome import Answer, Exchange
from ap4r.settings.upstreams import UpstreamSettings

MOST_SECONDS = 5.0  #: the longest time of a check


class HealthChecks:
    """Checks the servers of all upstreams with a `check`.

    :param caller_of: returns the Host and scheme by which an upstream is called, also by checks.
    :param returned: called with the name of an upstream when one of its servers has passed its check again.
    """

    def __init__(
        self,
        clock: IReactorTime,
        transport: HttpClient,
        routes: ServerRoutes,
        upstreams: Mapping[str, Upstream],
        caller_of: Callable[[Target], CallerIdentity],
        events: Events,
        returned: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._transport = transport
        self._routes = routes
        self._upstreams = upstreams
        self._events = events
        self._caller_of = caller_of
        self._returned = returned
        self._timers: dict[str, IDelayedCall] = {}
        self._settings: dict[str, UpstreamSettings] = {}
        self._asking: set[tuple[str, str]] = set()

    def start(self, upstreams: tuple[UpstreamSettings, ...]) -> None:
        """Use these settings from now on; results for an upstream whose settings stay the same are kept."""
        settings = {one.name: one for one in upstreams if one.check}
        for name in [name for name in self._timers if self._settings[name] != settings.get(name)]:
            timer = self._timers.pop(name)
            if timer.active():
                timer.cancel()
            if name in self._upstreams and name not in settings:
                self._upstreams[name].check_no_more()
        self._settings = settings
        for name in settings:
            if name not in self._timers:
                self._timers[name] = self._clock.callLater(0.0, self._turn, name)

    def stop(self) -> None:
        """Stop checking."""
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def _turn(self, name: str) -> None:
        settings = self._settings[name]
        self._timers[name] = self._clock.callLater(settings.check_seconds, self._turn, name)
        for server in self._upstreams[name].servers:
            if (name, server) not in self._asking:
                self._ask(settings, server)

    def _ask(self, settings: UpstreamSettings, server: str) -> None:
        self._asking.add((settings.name, server))
        route = self._routes.of(settings.name, server)
        url, caller = route.base + settings.check, self._caller_of(Target("/", settings.name))
        headers = {b"host": [host_of(url)], b"user-agent": [USER_AGENT], **shown(caller)}
        self._transport.begin(
            Request("GET", url, header_lines(headers), b""),
            min(MOST_SECONDS, settings.check_seconds),
            partial(self._ended, settings, server),
            may_write=lambda: True,
            route=route,
        )

    def _ended(self, settings: UpstreamSettings, server: str, exchange: Exchange) -> None:
        name = settings.name
        self._asking.discard((name, server))
        upstream = self._upstreams.get(name)
        if upstream is None or name not in self._timers:
            return
        passed = isinstance(exchange, Answer) and 200 <= exchange.status < 300
        if not upstream.checked(server, self._clock.seconds(), passed=passed):
            return
        if passed:
            self._events.emit(happened.ServerTakenBack(name, server))
            self._returned(name)
        else:
            self._events.emit(happened.ServerLeftOut(name, server, settings.check_seconds))

"""The dispatcher's process: its services in order, its signals, its exit code, its errors in one line."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from ap4r.dispatcher.app_server.server import AppServer
from ap4r.dispatcher.dispatcher import Dispatcher
from ap4r.dispatcher.http_server.admission import RequestAdmission, parse_listen
from ap4r.dispatcher.http_server.connections import Connections
from ap4r.dispatcher.http_server.health import StoreFigures
from ap4r.dispatcher.http_server.listen import listen, url_of
from ap4r.dispatcher.http_server.router import Router
from ap4r.dispatcher.http_server.routes import ListenSite
from ap4r.dispatcher.log.messages import Line
from ap4r.dispatcher.log.output import LineObserver, write_line
from ap4r.dispatcher.log.subscriber import Log
from ap4r.errors import Ap4rError, ConfigError
from ap4r.events.bus import Events
from ap4r.events.events import ReloadFailed, Serving
from ap4r.settings.secrets import read_tokens
from ap4r.settings.settings import Settings


class Process(Service):
    """The services of one dispatcher process: the health page, the application if it is served, the dispatcher.

    On SIGTERM and SIGINT it drains and exits with 0 (a second one ends the grace period), on SIGHUP it reloads the
    settings. An error that prevents its start is one line on standard error, and exit code 1."""

    name = "ap4r"
    _lookers: RequestAdmission

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        events: Events,
        dispatcher: Dispatcher,
        *,
        front: Router | None,
        app_server: AppServer | None,
        call_own_app: bool,
        connections: Connections,
        read_settings: Callable[[], Settings],
        observer: LineObserver | None,
        log: Log,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._events = events
        self._dispatcher = dispatcher
        self._front = front
        self._app_server = app_server
        self._call_own_app = call_own_app
        self._connections = connections
        self._read_settings = read_settings
        self._observer = observer
        self._log = log
        self._port: Any = None
        self._stopping = False

    def setServiceParent(self, parent: Any) -> None:
        """Join twistd's application, and add the log's observer."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """Open the ports, the application's first, because it may be a privileged one."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            if self._app_server is not None:
                self._app_server.privilegedStartService()
            if self._settings.listen != "none":
                self._listen()
            self._dispatcher.privilegedStartService()
        except Ap4rError as error:
            give_up(error)

    def startService(self) -> None:
        """Start working."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            if self._app_server is not None:
                self._app_server.startService()
                self._call_own()
            if self._front is not None:
                self._front.start()
            self._dispatcher.startService()
        except Ap4rError as error:
            give_up(error)
        # Twisted installs its handlers when the reactor starts, and after the end it would send the signal to itself
        # once more: an orderly end would look like a violent one.
        self._reactor.callWhenRunning(self._take_signals)
        self._reactor.callWhenRunning(spare_the_collector)

    def stopService(self) -> Deferred[None]:
        """Drain. The application is served until the end, because deliveries may wait for its answers."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def reload(self) -> None:
        """Reload the settings and apply what can be applied; invalid ones change nothing."""
        try:
            settings = self._read_settings()
            # The intake's settings are checked before anything is applied.
            planned = None if self._front is None else self._front.planned(settings)
            lookers = _lookers(settings)
            self._dispatcher.reload(settings)
        except ConfigError as error:
            self._events.emit(ReloadFailed(str(error)))
            return
        if self._front is not None and planned is not None:
            self._front.take(planned)
        self._settings, self._lookers = settings, lookers
        if self._observer is not None:
            self._observer.level, self._observer.format = settings.log_level, settings.log_format
        self._call_own()

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if self._front is not None:
            await self._front.stop()
        await self._dispatcher.stopService()
        if self._app_server is not None:
            await self._app_server.stopService()
        if port is not None:
            await port.stopListening()
        self._log.close()

    def _call_own(self) -> None:
        if self._call_own_app and self._app_server is not None:
            self._dispatcher.serve_app_at((self._app_server.url,))

    def _listen(self) -> None:
        figures = [StoreFigures(worker.store, self._reactor) for worker in self._dispatcher.workers]
        self._lookers = _lookers(self._settings)
        front = self._front
        routes = ListenSite(
            lambda: self._settings,
            lambda: self._lookers if front is None else front.admission,
            self._dispatcher.facts,
            figures,
            self._connections,
        )
        site = routes.made() if self._front is None else self._front.site(routes)
        self._port = listen(serverFromString, self._reactor, "listen", self._settings.listen, site)
        own = self._port.getHost()
        if hasattr(own, "host"):
            self._dispatcher.refuse_own(own.host, own.port)
        url = url_of(own)
        self._events.emit(Serving("health", f"{url}/healthz"))
        if self._front is not None:
            self._front.port = getattr(own, "port", 0)
            self._events.emit(Serving("intake", url))

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._end))
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload))

    def _end(self) -> None:
        if self._stopping:
            self._dispatcher.end_grace()
        else:
            self._stopping = True
            self._reactor.stop()


def _lookers(settings: Settings) -> RequestAdmission:
    """Return who may read /healthz if there is no intake."""
    tokens = read_tokens(settings.intake_token)
    return RequestAdmission(parse_listen(settings.listen), tokens, settings.intake_hosts, takes_messages=False)


def spare_the_collector() -> None:
    """Keep the garbage collector from what stays for good: modules, classes, functions, what libraries have made.

    A full collection goes through every object that may be part of a cycle, of which a process that has just started
    has some 90,000: for 50 ms nothing else goes on, each time that some tens of thousands more were made.
    """
    gc.collect()
    gc.freeze()


def give_up(error: Ap4rError) -> NoReturn:
    """End the process before it has started working: one line on standard error, exit code 1."""
    if os.path.samestat(os.fstat(2), os.stat(os.devnull)):
        # A daemon's standard error is not read, its log is; and twistd only reports an Exception to the shell that
        # waits for it, never SystemExit.
        write_line(Line("error", "given_up", str(error)))
        raise error
    print(f"ap4r: {error}", file=sys.__stderr__)
    raise SystemExit(1) from None

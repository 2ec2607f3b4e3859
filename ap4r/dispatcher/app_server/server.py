"""The application in the dispatcher's own process (`--app`): a WSGI server with threads of its own.

It does not depend on messages; deliveries reach the application through its port like all other requests.
"""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.python.threadpool import ThreadPool

from ap4r.dispatcher.app_server.request import AppSite
from ap4r.dispatcher.http_server.connections import Connections
from ap4r.dispatcher.http_server.listen import listen, url_of
from ap4r.errors import ConfigError
from ap4r.events.bus import Events
from ap4r.events.events import Serving


def load_app(name: str) -> Any:
    """Import a WSGI application by `MODULE:NAME`; NAME is `application` when left out.

    :raises ConfigError: the text says why it cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    attribute = attribute or "application"
    try:
        app: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = "" if "importlib" in where.filename else f" ({where.filename}, line {where.lineno})"
        problem = f"{module_name} cannot be imported: {type(error).__name__}: {error}{place}"
        raise ConfigError("app", problem) from error
    for part in attribute.split("."):
        if not hasattr(app, part):
            raise ConfigError("app", f"{module_name} has no {attribute}; name the WSGI application as MODULE:NAME")
        app = getattr(app, part)
    if not callable(app):
        raise ConfigError("app", f"{name} is a {type(app).__name__}, which cannot be called as a WSGI application")
    return app


class AppServer(Service):
    """Serves one WSGI application.

    The port is opened early, while the process may still have the right to a privileged one; the application is
    imported when the service starts, after any fork and without such rights.
    """

    name = "app"

    def __init__(
        self,
        reactor: Any,
        app: str,
        endpoint: str,
        threads: int,
        events: Events,
        stop_within_seconds: float,
        connections: Connections,
    ) -> None:
        self._reactor = reactor
        self._app = app
        self._endpoint = endpoint
        self._events = events
        self._stop_within_seconds = stop_within_seconds
        self._threads = ThreadPool(minthreads=0, maxthreads=threads, name="ap4r-app")
        self._site = AppSite(reactor, self._threads.callInThread, reactor.callFromThread, connections)
        self._port: Any = None
        self.url = ""

    def privilegedStartService(self) -> None:
        """Open the port.

        :raises ConfigError: it is in use, or the endpoint is invalid.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if self._port is None:
            self._port = listen(serverFromString, self._reactor, "app-listen", self._endpoint, self._site)
            self.url = url_of(self._port.getHost())

    def startService(self) -> None:
        """Import the application and start answering.

        :raises ConfigError: it cannot be imported.
        """
        super().startService()  # type: ignore[no-untyped-call]
        app = load_app(self._app)
        self._threads.start()
        self._site.app = app
        self._events.emit(Serving(self._app, self.url))

    def stopService(self) -> Deferred[None]:
        """Accept no more connections, let requests end, end the threads."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()
        ended = self._site.all_ended()
        ended.addTimeout(self._stop_within_seconds, self._reactor, lambda result, timeout: None)
        return ended.addCallback(lambda _: self._stop_threads())

    def _stop_threads(self) -> None:
        if self._threads.started and not self._threads.joined:
            self._threads.stop()

"""The requests of `--app`: they are passed to threads once they have arrived as a whole.

A body is kept in memory or, when it is large, in a temporary file, so that a slow client occupies no thread. A response
is sent while the application produces it; an application that is faster than its client waits.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.http import HTTPFactory, Request
from zope.interface import implementer

from ap4r.dispatcher.app_server.channel import AppChannel, ends_of
from ap4r.dispatcher.app_server.environ import BadRequest, build_environ
from ap4r.dispatcher.app_server.wsgi_response import ClientLeft, WsgiResponse
from ap4r.dispatcher.http_server.connections import Connections

#: The limits of one request, as in other servers that read a request as a whole.
MOST_BODY_BYTES = 1024 * 1024 * 1024
_IN_MEMORY_BYTES = 256 * 1024
#: How much an application may be ahead of its client.
_AHEAD_BYTES = 128 * 1024
_IDLE_SECONDS = 60
_STALLED_SECONDS = 60
_log = Logger(namespace="ap4r.app")


class Errors:
    """The stream `wsgi.errors` of an application: its lines go to the log."""

    def write(self, text: str) -> int:
        """Log a text."""
        if text.strip():
            _log.error("{text}", text=text.rstrip())
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Log a text in parts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


@implementer(IPushProducer)
class AppRequest(Request):
    """One request and its response. `send` and `end` are for the application's thread, the rest for the reactor's."""

    channel: Any

    def __init__(self, channel: AppChannel, queued: object = None) -> None:
        super().__init__(channel)
        self._site: AppSite = channel.factory
        self._changed = threading.Condition()
        # These are for both threads, under `_changed`.
        self._outgoing: list[bytes] = []
        self._unsent_bytes = 0
        self._is_scheduled = False
        self._is_lost = False
        self._kept: bool | None = None  # whether the connection can be kept, when the application has ended
        # These are the reactor's.
        self._paused = False
        self._stalled: Any = None
        self._size = 0
        self._runs = False

    def parseCookies(self) -> None:
        """Do nothing: cookies are the application's."""

    def gotLength(self, length: int | None) -> None:
        """Create a buffer for the body."""
        if length is not None and length > MOST_BODY_BYTES:
            self._refuse_size()
        self.content = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - closed when the response ends

    def handleContentChunk(self, data: bytes) -> None:
        """Store a part of the body."""
        self._size += len(data)
        if self._size > MOST_BODY_BYTES:
            self._refuse_size()
        elif self.content is not None and not self.channel.is_refused:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Pass the request to a thread."""
        assert self.content is not None
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        try:
            environ = build_environ(
                command,
                path,
                version,
                self.requestHeaders.getAllRawHeaders(),
                ends_of(self.channel),
                self.content,
                self._site.errors,
            )
        except BadRequest as refused:
            self.channel.refuse(refused.status, str(refused))
            return
        response = WsgiResponse(environ["REQUEST_METHOD"], version.decode(), bool(self.channel.persistent), self.send)
        self._runs = True
        self.channel.registerProducer(self, True)
        self._site.begun(self)
        self._site.in_thread(lambda: self._run(response, environ))

    def send(self, data: bytes) -> None:
        """Send bytes; block while the client is behind.

        :raises ClientLeft: the connection was lost.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_lost or self._unsent_bytes < _AHEAD_BYTES)
            if self._is_lost:
                raise ClientLeft
            self._outgoing.append(data)
            self._unsent_bytes += len(data)
            self._schedule()

    def pauseProducing(self) -> None:
        """Count everything that is written from now on as unsent."""
        self._paused = True
        if self._stalled is None:
            self._stalled = self.channel.callLater(_STALLED_SECONDS, self.channel.forceAbortClient)

    def resumeProducing(self) -> None:
        """Wake the application's thread, which waits in `send`."""
        self._paused = False
        self._cancel_stalled()
        self._count_as_sent()

    def stopProducing(self) -> None:
        """Do nothing: the loss of the connection follows."""

    def connectionLost(self, reason: Any) -> None:
        """Make the application's next write raise ClientLeft."""
        self._cancel_stalled()
        with self._changed:
            self._is_lost = True
            self._changed.notify_all()
        if not self._runs and self.content is not None:
            self.content.close()

    def _run(self, response: WsgiResponse, environ: dict[str, Any]) -> None:
        with self._changed:
            is_lost = self._is_lost
        # A call whose client left while it waited for a thread never begins.
        kept = not is_lost and response.run(self._site.app, environ)
        with self._changed:
            self._kept = kept
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._site.in_reactor(self._flush)

    def _flush(self) -> None:
        with self._changed:
            data, kept = b"".join(self._outgoing), self._kept
            self._outgoing.clear()
            self._is_scheduled = False
            is_lost = self._is_lost
        if data and not is_lost:
            self.channel.write(data)
        if not self._paused:
            self._count_as_sent()
        if kept is not None:
            self._finish(kept, is_lost)

    def _count_as_sent(self) -> None:
        with self._changed:
            self._unsent_bytes = sum(map(len, self._outgoing))
            self._changed.notify_all()

    def _finish(self, kept: bool, is_lost: bool) -> None:
        self._cancel_stalled()
        assert self.content is not None
        self.content.close()
        self._site.ended(self)
        if not is_lost:
            self.finished = 1
            self.channel.unregisterProducer()
            self.channel.persistent = kept
            self.channel.requestDone(self)

    def _cancel_stalled(self) -> None:
        stalled, self._stalled = self._stalled, None
        if stalled is not None and stalled.active():
            stalled.cancel()

    def _refuse_size(self) -> None:
        if not self.channel.is_refused:
            self.channel.refuse(413, f"the request has more than {MOST_BODY_BYTES:,} bytes")


class AppSite(HTTPFactory):
    """Serves one application, and counts the requests that it processes.

    :param in_thread: runs a callable in a thread of the application.
    :param in_reactor: runs a callable in the reactor's thread.
    :param connections: counts the open connections, of all that come from elsewhere.
    """

    noisy = False
    protocol = AppChannel  # type: ignore[assignment]

    def __init__(
        self,
        reactor: Any,
        in_thread: Callable[[Callable[[], None]], object],
        in_reactor: Callable[..., object],
        connections: Connections,
    ) -> None:
        super().__init__(timeout=_IDLE_SECONDS, reactor=reactor)
        self.app: Any = None
        self.errors = Errors()
        self.in_thread = in_thread
        self.in_reactor = in_reactor
        self.connections = connections
        self._open: set[AppRequest] = set()
        self._waiting: list[Deferred[None]] = []

    def buildProtocol(self, addr: Any) -> Any:
        """Build the channel of a connection."""
        channel: Any = super().buildProtocol(addr)
        channel.requestFactory = AppRequest
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols that TLS may negotiate."""
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """Do nothing: there is no log line for each request."""

    def begun(self, request: AppRequest) -> None:
        """Count a request that is passed to the application."""
        self._open.add(request)

    def ended(self, request: AppRequest) -> None:
        """Stop counting it."""
        self._open.discard(request)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for ended in waiting:
                ended.callback(None)

    def all_ended(self) -> Deferred[None]:
        """Return when the application processes no request."""
        if not self._open:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._waiting.append(ended)
        return ended

"""How a request comes in at the listening address: held to the rules of its route, bounded in size and time.

It knows nothing of messages. (Twisted alone takes any number of bytes, for as long as some come.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.web.http import datetimeToString
from twisted.web.server import Request, Site, version

from ap4r.dispatcher.connections import Connections
from ap4r.dispatcher.refusal import Refusal
from ap4r.dispatcher.rules import RuleBook, too_large
from ap4r.dispatcher.unread import MOST_READINGS, has_unread

#: What is read beyond a refusal, so that its answer is not lost to a connection that is reset.
_READ_AFTER_BYTES = 64 * 1024 * 1024
_HELD_BYTES = 256 * 1024 * 1024  #: of all requests together
_IDLE_SECONDS = 60


class Arrivals:
    """What every request of an address is held to.

    :param rules: of each route.
    :param most_bytes: of any body, so that one whose length is not told is counted too.
    :param seconds: how long a request may take to arrive, from its first byte to its last.
    """

    def __init__(
        self, rules: RuleBook, connections: Connections, *, most_bytes: Callable[[], int], seconds: Callable[[], float]
    ) -> None:
        self.rules = rules
        self.connections = connections
        self.most_bytes = most_bytes
        self.seconds = seconds
        self.held_bytes = 0  # of the bodies that are here and not answered

    def has_room(self, length: int) -> bool:
        """Tell whether a body of that length may come."""
        return self.held_bytes + length <= _HELD_BYTES

    def too_slow(self) -> Refusal:
        """Say that a body took too long."""
        problem = f"the request was not here after {self.seconds():g} s (setting intake_body_seconds)"
        return Refusal(408, "too_slow", problem, "", "send it again, faster; nothing was stored")


class ArrivingRequest(Request):
    """A request whose body is counted while it comes. `site.arrivals` says what it may be."""

    def __init__(self, channel: Any, *args: Any, **options: Any) -> None:
        super().__init__(channel, *args, **options)  # type: ignore[no-untyped-call]
        self._arrivals: Arrivals = channel.site.arrivals
        self._parts: list[bytes] = []
        self._size = 0
        self._refused = False
        self._here = False
        self.admitted = False  #: whether its headers were looked at and are good
        self.is_gone = False  #: whether its connection was lost, so that nobody waits for an answer
        self._refusal: Refusal | None = None  # of a request that has no body
        self._timer: IDelayedCall | None = None  # after which a client that was refused is cut off

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self._parts)

    @cached_property
    def fields(self) -> Mapping[bytes, Sequence[bytes]]:
        """The headers by lower-case name. To be read when all are here."""
        return {name.lower(): values for name, values in self.requestHeaders.getAllRawHeaders()}

    def field(self, name: bytes) -> str | None:
        """Give the header of that name as text, the last where there are several."""
        values = self.fields.get(name)
        return values[-1].decode() if values else None

    def gotLength(self, length: int | None) -> None:
        """Hold the request to its route's rules, before anything of the body was read."""
        arrivals, channel = self._arrivals, self.channel
        method, path = channel._command.decode("latin-1"), channel._path.partition(b"?")[0]
        refusal = arrivals.rules.refuse(self, method, path, length)
        if refusal is None and length != 0 and not arrivals.has_room(length or 0):
            advice = "send it again later; nothing was stored"
            refusal = Refusal(503, "busy", "too much is being received", "", advice, 1.0)
        self.admitted = refusal is None
        if length == 0:
            self._refusal = refusal
        elif refusal is not None:
            self._refuse(refusal)

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._size += len(data)
        if self._refused:
            if self._size > _READ_AFTER_BYTES:
                self.channel.forceAbortClient()
        elif self._size > self._arrivals.most_bytes():
            self._refuse(too_large(self._arrivals.most_bytes()))
        else:
            self._arrivals.held_bytes += len(data)
            self._parts.append(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Begin to answer. (Twisted's own would read forms and queries, which nothing here has.)"""
        self._cancel()
        if self._refused:
            self.channel.loseConnection()
            return
        self._here = True
        self.method, self.uri, self.clientproto, self.args = command, path, version, {}
        self.path = path.partition(b"?")[0]
        if self._refusal is not None:
            self.respond(self._refusal.status, "application/json", self._refusal.body, self._refusal.headers)
            return
        self.process()  # type: ignore[no-untyped-call]

    def respond(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer in one piece, and be done. (Twisted's own way through its headers takes longer than a put.)"""
        if self.responseHeaders.hasHeader(b"Connection"):
            headers = {**headers, "Connection": "close"}
        answer = answer_bytes(self.clientproto, status, kind, headers, body, is_head=self.method == b"HEAD")
        self.startedWriting = 1
        self.channel.write(answer)
        self.finish()

    def finish(self) -> None:
        """Be done with it."""
        self._over()
        super().finish()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:
        """Let go."""
        self.is_gone = True
        self._over()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _refuse(self, refusal: Refusal) -> None:
        """Answer now, with the body still on its way, and take nothing more on this connection."""
        self._refused = True
        self._over()
        self.requestHeaders.removeHeader(b"expect")
        headers = {"Connection": "close", **refusal.headers}
        transport: Any = self.channel.transport
        transport.write(answer_bytes(b"HTTP/1.1", refusal.status, "application/json", headers, refusal.body))
        self._timer = self.channel.callLater(self._arrivals.seconds(), self.channel.forceAbortClient)

    def late(self, readings: int = MOST_READINGS) -> None:
        """Refuse the rest of a request that did not arrive in time."""
        self._timer = None
        if self._here:
            return
        if self._refused:
            self.channel.forceAbortClient()
            return
        if readings and has_unread(self.channel):
            # While this process stood still, the rest of it may have come.
            self._timer = self.channel.callLater(0.0, partial(self.late, readings - 1))
        else:
            self._refuse(self._arrivals.too_slow())
            self.channel.loseConnection()

    def _over(self) -> None:
        self._cancel()
        self._arrivals.held_bytes -= sum(map(len, self._parts))
        self._parts.clear()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class ArrivingSite(Site):
    """A site of such requests."""

    noisy = False
    displayTracebacks = False

    def __init__(self, root: Any, arrivals: Arrivals) -> None:
        super().__init__(root, requestFactory=ArrivingRequest, timeout=_IDLE_SECONDS)  # type: ignore[no-untyped-call]
        self.arrivals = arrivals

    def log(self, request: Any) -> None:
        """Write no line for each request."""


def answer_bytes(
    protocol: bytes, status: int, kind: str, headers: Mapping[str, str], body: bytes, *, is_head: bool = False
) -> bytes:
    """Write an answer, in one piece."""
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()
    head = _head(protocol, status, kind)
    return b"%sDate: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
        *(head, datetimeToString(), more, len(body)),
        b"" if is_head else body,
    )


@lru_cache(maxsize=256)
def _head(protocol: bytes, status: int, kind: str) -> bytes:
    lines = [b"%s %d %s" % (protocol, status, HTTPStatus(status).phrase.encode()), b"Server: " + version]
    lines += [b"Content-Type: " + kind.encode(), b"Cache-Control: no-store", b""]
    return b"\r\n".join(lines)

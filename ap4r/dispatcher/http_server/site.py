"""Requests at the listen address: checked against the rules of their route, and bounded in size and time.

A plain `POST /messages` that arrives in one piece takes a short path to the intake. Twisted alone accepts any number of
bytes, for as long as some arrive.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.server import Request, Site, version

from ap4r.dispatcher.http_client.unread_bytes import MOST_READINGS, has_unread
from ap4r.dispatcher.http_server.connections import Connections
from ap4r.dispatcher.http_server.problem import Refusal
from ap4r.dispatcher.http_server.route_rules import MostBytes, RuleBook
from ap4r.dispatcher.http_server.strict_channel import StrictChannel

#: Bytes that are read after a refusal, so that its answer is not lost to a reset connection.
_READ_AFTER_BYTES = 64 * 1024 * 1024
_HELD_BYTES = 256 * 1024 * 1024  #: of all requests together
_IDLE_SECONDS = 60


class Arrivals:
    """The limits of every request of an address.

    :param rules: of each route.
    :param seconds: the longest time for a request to arrive, from its first byte to its last.
    """

    def __init__(self, rules: RuleBook, connections: Connections, *, seconds: Callable[[], float]) -> None:
        self.rules = rules
        self.connections = connections
        self.seconds = seconds
        self.held_bytes = 0  # of the bodies that have arrived and are not answered

    def has_room(self, length: int) -> bool:
        """Return whether a body of that length can be accepted."""
        return self.held_bytes + length <= _HELD_BYTES

    def too_slow(self) -> Refusal:
        """Return the answer to a body that took too long."""
        problem = f"the request was not here after {self.seconds():g} s (setting intake_body_seconds)"
        return Refusal(408, "too_slow", problem, "", "send it again, faster; nothing was stored")


class ArrivingRequest(Request):
    """A request whose body is counted while it arrives. `site.arrivals` has its limits."""

    def __init__(self, channel: Any, *args: Any, **options: Any) -> None:
        super().__init__(channel, *args, **options)  # type: ignore[no-untyped-call]
        self._arrivals: Arrivals = channel.site.arrivals
        self._parts: list[bytes] = []
        self._size = 0
        self._most_bytes: MostBytes | None = None  # of a body of unknown length
        self._refused = False
        self._here = False
        self.admitted = False  #: whether its headers were checked and are valid
        self.is_gone = False  #: whether its connection was lost, so that no client waits for an answer
        self._refusal: Refusal | None = None  # of a request without a body
        self._timer: IDelayedCall | None = None  # after which the connection of a refused client is closed

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self._parts)

    @cached_property
    def fields(self) -> Mapping[bytes, Sequence[bytes]]:
        """The headers by lower-case name. To be read when all have arrived."""
        return {name.lower(): values for name, values in self.requestHeaders.getAllRawHeaders()}

    def field(self, name: bytes) -> str | None:
        """Return the header of that name as text, the last if there are several."""
        values = self.fields.get(name)
        return values[-1].decode() if values else None

    def gotLength(self, length: int | None) -> None:
        """Check the request against its route's rules, before anything of the body is read."""
        arrivals, channel = self._arrivals, self.channel
        method, path = channel._command.decode("latin-1"), channel._path.partition(b"?")[0]
        refusal = arrivals.rules.refuse(self, method, path, length)
        if refusal is None and length != 0 and not arrivals.has_room(length or 0):
            advice = "send it again later; nothing was stored"
            refusal = Refusal(503, "busy", "too much is being received", "", advice, 1.0)
        self.admitted = refusal is None
        if length is None and self.admitted:
            self._most_bytes = arrivals.rules.most_bytes(path)
        if length == 0:
            self._refusal = refusal
        elif refusal is not None:
            self._refuse(refusal)

    def handleContentChunk(self, data: bytes) -> None:
        """Store a part of the body."""
        self._size += len(data)
        if self._refused:
            if self._size > _READ_AFTER_BYTES:
                self.channel.forceAbortClient()
        elif self._most_bytes is not None and self._size > self._most_bytes.count:
            self._refuse(self._most_bytes.refusal)
        else:
            self._arrivals.held_bytes += len(data)
            self._parts.append(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Begin to answer. (Twisted's own would parse forms and queries, which are not used here.)"""
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
        """Finish the response."""
        self._over()
        super().finish()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:
        """Release the request's resources."""
        self.is_gone = True
        self._over()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _refuse(self, refusal: Refusal) -> None:
        """Answer now, while the body may still arrive, and read no further request on this connection."""
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
            # While this process was blocked, the rest of it may have arrived.
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
    """A site of arriving requests."""

    noisy = False
    displayTracebacks = False

    def __init__(self, root: Any, arrivals: Arrivals) -> None:
        super().__init__(root, requestFactory=ArrivingRequest, timeout=_IDLE_SECONDS)  # type: ignore[no-untyped-call]
        self.arrivals = arrivals

    def log(self, request: Any) -> None:
        """Do nothing: there is no log line for each request."""


def answer_bytes(
    protocol: bytes, status: int, kind: str, headers: Mapping[str, str], body: bytes, *, is_head: bool = False
) -> bytes:
    """Return an answer, in one piece."""
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode() if headers else b""
    head = _head(protocol, status, kind)
    return b"%sDate: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
        *(head, _date(int(time.time())), more, len(body)),
        b"" if is_head else body,
    )


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    date: bytes = datetimeToString(now)
    return date


@lru_cache(maxsize=256)
def _head(protocol: bytes, status: int, kind: str) -> bytes:
    lines = [b"%s %d %s" % (protocol, status, HTTPStatus(status).phrase.encode()), b"Server: " + version]
    lines += [b"Content-Type: " + kind.encode(), b"Cache-Control: no-store", b""]
    return b"\r\n".join(lines)


_POST = b"POST /messages HTTP/1.1\r\n"
_MOST_HEAD_BYTES = 8 * 1024
#: Each header on a line of its own, its name a token, its value without a control character (RFC 9110, section 5).
_HEADERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
# The spaces around a value are not part of this: matching them here takes time that grows with their square.
_HEADER = re.compile(rb"([^:\r\n]+):([^\r\n]*)\r\n")
#: Headers that decide how to read the request or what happens to the connection: not for the short path.
_ODD = frozenset({b"connection", b"cookie", b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_LENGTH = re.compile(rb"[0-9]{1,9}")

_ADVICE = "send a request line, headers as `name: value`, a body that is as long as they say; nothing was stored"

Fields = Mapping[bytes, Sequence[bytes]]


def read_plain(data: bytes) -> tuple[Fields, bytes] | None:
    """Return headers by lower-case name, and the body, if `data` is a plain request; None for everything else. Pure.

    Everything that it accepts is unambiguous.
    """
    if not data.startswith(_POST):
        return None
    found = _HEADERS.match(data, len(_POST), len(_POST) + _MOST_HEAD_BYTES)
    if found is None:
        return None
    fields: dict[bytes, tuple[bytes]] = {}
    for name, value in _HEADER.findall(found[0]):
        lower, value = name.lower(), value.strip(b" \t")
        if lower in fields or (lower in _ODD and (lower, value.lower()) != (b"connection", b"keep-alive")):
            return None
        fields[lower] = (value,)
    body = data[found.end() :]
    length = fields.get(b"content-length", (b"",))[0]
    if not body or not _LENGTH.fullmatch(length) or int(length) != len(body):
        return None
    return fields, body


class PlainRequest:
    """A request of the short path. The intake's endpoint uses it like an `ArrivingRequest`."""

    __slots__ = ("_channel", "admitted", "body", "fields", "is_gone")

    def __init__(self, channel: ArrivingChannel, fields: Fields, body: bytes) -> None:
        self._channel = channel
        self.fields = fields
        self.body = body
        self.admitted = False
        self.is_gone = False

    def field(self, name: bytes) -> str | None:
        """Return the header of that name as text."""
        values = self.fields.get(name)
        return values[0].decode() if values else None

    def getClientAddress(self) -> Any:
        """Return the address that it comes from."""
        return self._channel.transport.getPeer()

    def respond(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer, and let the next request begin."""
        self._channel.answered(answer_bytes(b"HTTP/1.1", status, kind, headers, body))


class ArrivingChannel(StrictChannel):
    """A connection of the listen address. `site` has the function that handles plain requests."""

    transport: Any
    site: Any

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._is_plain = True  # so far
        self._request: PlainRequest | None = None  # that is not answered yet
        self._behind: list[bytes] = []  # the bytes after it
        self._waits = True  # for the first byte of a request
        self._was_spared = False

    @property
    def is_busy(self) -> bool:
        """Whether a request was admitted and is not answered yet."""
        return self._request is not None or any(request.admitted for request in self.requests)

    def connectionMade(self) -> None:
        """Begin, unless there are too many connections."""
        super().connectionMade()
        self.site.arrivals.connections.opened(self)

    def drop(self) -> None:
        """Close the connection at once."""
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Use the short path, or from the first other request on Twisted's."""
        if self._request is not None:
            # The next request waits for its turn, and the sender for room in the buffer.
            self._behind.append(data)
            self.transport.pauseProducing()
            return
        if self._is_plain:
            arrivals: Arrivals = self.site.arrivals
            read = read_plain(data) if self.site.take_plain and arrivals.has_room(len(data)) else None
            if read is not None:
                super().resetTimeout()  # type: ignore[no-untyped-call]
                self._request = PlainRequest(self, *read)
                arrivals.held_bytes += len(self._request.body)
                take: Callable[[PlainRequest], None] = self.site.take_plain
                take(self._request)
                return
            self._is_plain = False
        super().dataReceived(data)

    def answered(self, answer: bytes) -> None:
        """Send the answer to the plain request, and handle the bytes after it."""
        self._forget()
        self.site.arrivals.connections.answered(self)
        self.transport.write(answer)
        if self._behind:
            data, self._behind = b"".join(self._behind), []
            if not self._waitingForTransport:  # a client that does not read its answers may not send more
                self.transport.resumeProducing()
            self.dataReceived(data)

    def refusal_bytes(self, status: int, problem: str) -> bytes:
        """Return the answer to bytes that are not a request, in the form of the intake's answers."""
        body = Refusal(400, "malformed", problem, "", _ADVICE).body
        return answer_bytes(b"HTTP/1.1", 400, "application/json", {"Connection": "close"}, body)

    def resetTimeout(self) -> None:
        """Start the timer of a request at its first byte. Later bytes do not restart it."""
        if self._waits:
            self._waits = False
            self.setTimeout(self.site.arrivals.seconds())  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        """Wait for the next request."""
        self._waits, self._savedTimeOut = True, self.site.timeOut
        self.site.arrivals.connections.answered(self)
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        """Close a connection that is idle or whose request is late; not one that waits for an answer, or to be read."""
        if self._request is None and (self._was_spared or not has_unread(self)):
            if self.requests:
                self.requests[-1].late()
            else:
                self.drop()
        else:
            # Once, because of a standstill of ours: unread bytes after that are of a sender that does not read its
            # answers.
            self._was_spared = self._request is None
            self.setTimeout(self.timeOut)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Release the connection's resources."""
        self.site.arrivals.connections.closed(self)
        if self._request is not None:
            self._request.is_gone = True
            self._forget()
        super().connectionLost(reason)

    def _forget(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            self.site.arrivals.held_bytes -= len(request.body)


class PlainSite(ArrivingSite):
    """A site whose plain requests go straight to their handling function."""

    protocol = ArrivingChannel  # type: ignore[assignment]

    def __init__(self, root: Any, arrivals: Arrivals, take_plain: Callable[[PlainRequest], None] | None) -> None:
        super().__init__(root, arrivals)
        self.take_plain = take_plain

    def acceptableProtocols(self) -> list[bytes]:
        """Offer only HTTP/1.1 if a listener uses TLS, because only that is parsed here."""
        return [b"http/1.1"]

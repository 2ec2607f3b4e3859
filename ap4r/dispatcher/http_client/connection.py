"""One HTTP/1.1 connection to a server, with one request at a time, and the response as it arrives.

It does not connect or set timeouts, and does not decide whether it is used again; it reports when it could be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ap4r.dispatcher.http_client.headers import ReceivedHeaders
from ap4r.dispatcher.http_client.response_framing import FEW_BYTES, ResponseReader
from ap4r.dispatcher.http_client.response_head import Head, NotHttp
from ap4r.dispatcher.http_client.unread_bytes import reader_of


@implementer(IResponse)
class TargetResponse:
    """One response (IResponse)."""

    previousResponse = None
    request = None

    def __init__(self, connection: HttpConnection, head: Head) -> None:
        self.code = head.status
        self.phrase = head.phrase
        self.headers = ReceivedHeaders(head)
        self._head = head
        self._connection = connection
        self._reader: Any = None
        self._waiting: list[bytes] = []
        self._ended: Failure | None = None

    @property
    def version(self) -> tuple[bytes, int, int]:
        """The protocol and the two numbers of its version (IResponse)."""
        return (b"HTTP", *self._head.version)

    @property
    def length(self) -> int | None:
        """The body's length as the head states it (IResponse)."""
        return self._head.length

    def deliverBody(self, protocol: IProtocol) -> None:
        """Pass the body to `protocol`, and then its end to its `connectionLost` (IResponse)."""
        self._reader = protocol
        transport: Any = self._connection.transport
        protocol.makeConnection(transport)
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            protocol.dataReceived(piece)
        if self._ended is not None:
            protocol.connectionLost(self._ended)

    def setPreviousResponse(self, response: IResponse) -> None:
        """Do nothing: no response here follows a redirect (IResponse)."""

    def take(self, piece: bytes) -> None:
        """Receive a part of the body."""
        if self._reader is None:
            self._waiting.append(piece)
        else:
            self._reader.dataReceived(piece)

    def end(self, reason: Failure) -> None:
        """Record the body's end."""
        if self._ended is None:
            self._ended = reason
            if self._reader is not None:
                self._reader.connectionLost(reason)


_WHOLE = Failure(ResponseDone())
_WITH_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})


class HttpConnection(Protocol):
    """A connection over which requests go, one after the other.

    :param idle: called when the connection may carry another request.
    """

    def __init__(self, idle: Callable[[HttpConnection], None]) -> None:
        self._idle = idle
        self._exchange: _Exchange | None = None
        self._may_send = False  # without the reactor: there is nothing in its write buffer
        self._reading: TCPConnection | None = None  # the transport that reads from the socket, beneath TLS too
        self.lost = False

    @property
    def is_busy(self) -> bool:
        """Whether a request was sent over it whose response has not arrived completely."""
        return self._exchange is not None

    def connectionMade(self) -> None:
        """Find out whether the connection is a plain one, and read it in small portions."""
        transport = cast(Any, self.transport)
        self._may_send = isinstance(transport, TCPConnection) and not transport.TLS
        self._reading = reader_of(transport)
        if self._reading is not None:
            self._reading.bufferSize = FEW_BYTES

    def send(self, method: bytes, head: bytes, body: bytes, most_bytes: int) -> Deferred[IResponse]:
        """Write a request; return a Deferred of its response, which fires when the head has arrived.

        It fails with ResponseNeverReceived when the connection ends before that, and with NotHttp when the answer is
        not HTTP. Cancelling it ends the connection.

        :param head: the request line and the headers, without a Content-Length and without the last empty line.
        :param most_bytes: the most bytes that are read of the response.
        """
        assert self._exchange is None and not self.lost
        exchange = self._exchange = _Exchange(self, ResponseReader(most_bytes, is_head=method == b"HEAD"))
        answered = exchange.answered
        if body or method in _WITH_CONTENT:
            self._write(b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body))
        else:
            self._write(head + b"\r\n")
        return answered

    def _write(self, data: bytes) -> None:
        # A socket mostly accepts a request at once; making the reactor wait for that can cost more than sending it.
        if self._may_send:
            try:
                sent = self.transport.getHandle().send(data)  # type: ignore[union-attr]
            except OSError:
                sent = 0  # Twisted reports the error when it occurs again
            if sent == len(data):
                return
            self._may_send = False
            data = data[sent:]
        cast(Any, self.transport).write(data)

    def abort(self) -> None:
        """End the connection at once."""
        if self.transport is not None and not self.lost:
            cast(Any, self.transport).abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes from the server."""
        exchange = self._exchange
        if exchange is None:
            # There is no request: whatever this is, the connection is out of sync.
            self.abort()
            return
        piece = exchange.feed(data)
        if self._reading is not None:
            # The rest in the socket is read in the reactor's next turn, after other connections.
            self._reading.bufferSize = exchange.readable_bytes
        if exchange.complete and self._exchange is exchange:
            self._exchange = None
            if exchange.may_stay and not self.lost:
                self._idle(self)
            else:
                cast(Any, self.transport).loseConnection()
        exchange.pass_on(piece)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Record the end of the connection, which also ends its exchange."""
        self.lost = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cut_off(reason)


class ConnectionFactory(Factory):
    """Builds connections for an endpoint."""

    noisy = False

    def __init__(self, idle: Callable[[HttpConnection], None]) -> None:
        self._idle = idle

    def buildProtocol(self, addr: object) -> HttpConnection:
        """Return a new connection."""
        return HttpConnection(self._idle)


class _Exchange:
    """A response as it arrives."""

    __slots__ = ("_answered", "_connection", "_problem", "_reader", "_response", "complete")

    def __init__(self, connection: HttpConnection, reader: ResponseReader) -> None:
        self._connection = connection
        self._reader = reader
        self._problem: NotHttp | None = None
        self._response: TargetResponse | None = None
        self._answered: Deferred[IResponse] = Deferred(self._cancelled)
        self.complete = False

    @property
    def answered(self) -> Deferred[IResponse]:
        """A Deferred that fires when the head has arrived."""
        return self._answered

    @property
    def may_stay(self) -> bool:
        """Whether the connection could carry another request."""
        return self._reader.may_stay

    @property
    def readable_bytes(self) -> int:
        """The number of bytes to read next."""
        return self._reader.readable_bytes

    def feed(self, data: bytes) -> bytes:
        """Read bytes; return those that belong to the body."""
        try:
            piece = self._reader.feed(data)
        except NotHttp as problem:
            self._problem = problem
            return b""
        self.complete = self._reader.is_complete
        return piece

    def pass_on(self, piece: bytes) -> None:
        """Pass on what has arrived. From the first call on, this connection may belong to the next request."""
        problem, complete, response = self._problem, self.complete, self._response
        if response is None and self._reader.head is not None:
            response = self._respond(self._reader.head)
        if response is not None and piece:
            response.take(piece)
        if problem is not None:
            self.cut_off(Failure(problem))
            self._connection.abort()
        elif complete and response is not None:
            response.end(_WHOLE)

    def cut_off(self, reason: Failure) -> None:
        """Record that nothing more will arrive."""
        if self.complete:
            return
        self.complete = True
        is_garbage, is_whole = isinstance(reason.value, NotHttp), False
        if not is_garbage:
            try:
                is_whole = self._reader.end(is_clean=reason.check(ConnectionDone) is not None)
            except NotHttp as problem:
                reason, is_garbage = Failure(problem), True
        head = self._reader.head
        if head is not None and self._response is None and not self._answered.called:
            self._respond(head)
        if self._response is None:
            if not self._answered.called:
                self._answered.errback(reason if is_garbage else Failure(ResponseNeverReceived([reason])))
        elif is_whole:
            self._response.end(Failure(PotentialDataLoss()))
        else:
            self._response.end(Failure(ResponseFailed([reason], self._response)))

    def _respond(self, head: Head) -> TargetResponse:
        response = self._response = TargetResponse(self._connection, head)
        self._answered.callback(response)
        return response

    def _cancelled(self, answered: Deferred[IResponse]) -> None:
        self._connection.abort()

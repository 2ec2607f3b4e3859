"""One HTTP/1.1 connection to a server: one request at a time, the response parsed by httptools.

It does not connect, time, or decide whether it is used again; it says when it could be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import httptools
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from ap4r.dispatcher.response import Response

#: A head longer than this is no answer but an attack or a defect.
MOST_HEAD_BYTES = 64 * 1024
_WHOLE = Failure(ResponseDone())
_WITH_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})


class NotHttp(Exception):
    """What a server sent is not a response of HTTP/1."""


class Connection(Protocol):
    """A connection over which requests go, one after the other.

    :param idle: told when the connection may carry another request.
    """

    def __init__(self, idle: Callable[[Connection], None]) -> None:
        self._idle = idle
        self._exchange: _Exchange | None = None
        self._used: _Exchange | None = None  # one that ended well can carry the next: to make a parser is dear
        self._may_send = False  # without the reactor: nothing is waiting to be written
        self.lost = False

    def connectionMade(self) -> None:
        """Find out whether the connection is a plain one."""
        transport = cast(Any, self.transport)
        self._may_send = isinstance(transport, TCPConnection) and not transport.TLS

    def send(self, method: bytes, head: bytes, body: bytes) -> Deferred[IResponse]:
        """Write a request; fires with its response when the head has come.

        It fails with ResponseNeverReceived when the connection ends before that, and with NotHttp when what
        comes is not HTTP. Cancelling it ends the connection.

        :param head: the request line and the headers, without a Content-Length and without the last empty line.
        """
        assert self._exchange is None and not self.lost
        exchange, self._used = self._used or _Exchange(self), None
        self._exchange = exchange
        answered = exchange.begin(method == b"HEAD")
        if body or method in _WITH_CONTENT:
            self._write(b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body))
        else:
            self._write(head + b"\r\n")
        return answered

    def _write(self, data: bytes) -> None:
        # A socket mostly takes a request at once; asking the reactor to wait until it can costs more than the sending.
        if self._may_send:
            try:
                sent = self.transport.getHandle().send(data)  # type: ignore[union-attr]
            except OSError:
                sent = 0  # Twisted tells, when it finds the same
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
        """Take bytes from the server."""
        exchange = self._exchange
        if exchange is None:
            # Nobody asked: whatever this is, the connection is out of step.
            self.abort()
            return
        exchange.feed(data)
        if exchange.complete and self._exchange is exchange:
            self._exchange = None
            if exchange.may_stay and not self.lost:
                self._used = exchange
                self._idle(self)
            else:
                cast(Any, self.transport).loseConnection()
        exchange.tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end of the connection; an exchange under way ends with it."""
        self.lost = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cut_off(reason)


class ConnectionFactory(Factory):
    """Makes connections for an endpoint."""

    noisy = False

    def __init__(self, idle: Callable[[Connection], None]) -> None:
        self._idle = idle

    def buildProtocol(self, addr: object) -> Connection:
        """Give a new connection."""
        return Connection(self._idle)


class _Exchange:
    """A response as it comes in. The `on_…` methods are httptools' callbacks; they only note what they are told.

    What was noted is told to others by `tell`, outside the parser: whoever hears it may end the connection, or send the
    next request over it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parser: Any = httptools.HttpResponseParser(self)

    def begin(self, is_head: bool) -> Deferred[IResponse]:
        """Expect a response, the first or one after another that was whole; fires when its head has come."""
        self._is_head = is_head
        self._phrase = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._head_came = False
        self._pieces: list[bytes] = []
        self._problem: Exception | None = None
        self._response: Response | None = None
        self._answered: Deferred[IResponse] = Deferred(self._cancelled)
        self.complete = False
        self.may_stay = False
        return self._answered

    def on_message_begin(self) -> None:
        if self.complete:
            # A second response to one request: whoever sends that cannot be kept.
            self.may_stay = False
            return
        self._phrase, self._headers = b"", []

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        code = self._parser.get_status_code()
        if code >= 200 and not self.complete:
            self._head_came = True
            if self._is_head:
                # Its head may announce a body that does not come, and the parser would wait for it.
                self.complete = True

    def on_body(self, piece: bytes) -> None:
        if not self.complete:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._head_came and not self.complete:
            self.complete = True
            self.may_stay = bool(self._parser.should_keep_alive())

    def feed(self, data: bytes) -> None:
        """Parse what came."""
        if not self._head_came:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._problem = NotHttp("the server wants to speak another protocol")
        except httptools.HttpParserError as error:
            if not self.complete:
                self._problem = NotHttp(str(error))
            self.may_stay = False
        if not self._head_came and self._head_bytes > MOST_HEAD_BYTES and self._problem is None:
            self._problem = NotHttp(f"a head of more than {MOST_HEAD_BYTES:,} bytes")

    def tell(self) -> None:
        """Hand on what was noted."""
        # All is looked at first: from the first call on this may belong to the next request.
        problem, complete, answered, response = self._problem, self.complete, self._answered, self._response
        pieces, self._pieces = self._pieces, []
        if self._head_came and response is None:
            code, version = self._parser.get_status_code(), self._parser.get_http_version()
            response = self._response = Response(self._connection, code, version, self._phrase, self._headers)
            answered.callback(response)
        if response is not None:
            for piece in pieces:
                response.take(piece)
        if problem is not None:
            self.cut_off(Failure(problem))
            self._connection.abort()
        elif complete and response is not None:
            response.end(_WHOLE)

    def cut_off(self, reason: Failure) -> None:
        """Note that no more will come."""
        if self.complete:
            return
        self.complete = True
        if self._response is None:
            if not self._answered.called:
                is_garbage = isinstance(reason.value, NotHttp)
                self._answered.errback(reason if is_garbage else Failure(ResponseNeverReceived([reason])))
        elif self._response.has_end or self._problem is not None:
            self._response.end(Failure(ResponseFailed([reason], self._response)))
        else:
            self._response.end(Failure(PotentialDataLoss()))

    def _cancelled(self, answered: Deferred[IResponse]) -> None:
        self._connection.abort()

"""One HTTP exchange with treq: it sends a request, and results in an `Answer` or a `NoResponse`, never an exception.

It does not decide the outcome, repeat or choose a server. One deadline covers everything: name lookup, connecting,
TLS handshake, sending, and reading the body, which is read up to a bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, cast

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import URI, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from ap4r.dispatcher.delivery.request import Request
from ap4r.dispatcher.http_client.connection import ConnectionFactory, HttpConnection
from ap4r.dispatcher.http_client.content_coding import Undecodable, decoded
from ap4r.dispatcher.http_client.failures import answer_of, fault_of
from ap4r.dispatcher.http_client.headers import NO_COOKIES, BodyReader, RequestBody, SentHeaders, as_it_is, prepared_url
from ap4r.dispatcher.http_client.response_framing import TooMuch
from ap4r.dispatcher.http_client.timeouts import Deadline
from ap4r.dispatcher.http_client.unread_bytes import MOST_READINGS, has_unread
from ap4r.dispatcher.upstreams.server_routes import ServerRoute
from ap4r.outcome.outcome import Answer, Exchange, NoResponse, Reason, ResponseReading
from ap4r.outcome.response import BUSY_HEADER, UNREADABLE

if TYPE_CHECKING:
    from ap4r.dispatcher.http_client.client import HttpClient

#: Reads an answer at once, or, if that may take long, later.
AnswerReader = Callable[[Answer], "ResponseReading | Deferred[ResponseReading | None] | None"]
_JUDGED_HEADERS = ("retry-after", "ap4r-retry", "location", BUSY_HEADER)
_READ_HEADERS = (*_JUDGED_HEADERS, "content-type")
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")


@implementer(IAgent)
class HttpExchange:
    """One exchange. It is also treq's agent, so that it knows the moment of writing."""

    __slots__ = (
        *("_begun_at", "_called", "_connect_deadline", "_connection", "_cut", "_deadline", "_done"),
        *("_fresh", "_may_write", "_pending", "_read", "_response", "_status", "_transport", "_route"),
    )

    def __init__(
        self,
        transport: HttpClient,
        done: Callable[[Exchange], None],
        may_write: Callable[[], bool],
        *,
        fresh: bool,
        read: AnswerReader | None,
        route: ServerRoute,
    ) -> None:
        self._transport = transport
        self._may_write = may_write
        self._fresh = fresh
        self._read = read
        self._route = route
        self._done: Callable[[Exchange], None] | None = done
        self._begun_at = transport.clock.seconds()
        self._deadline: Deadline | None = None
        self._connect_deadline: Deadline | None = None
        self._pending: Deferred[Any] | None = None
        self._connection: HttpConnection | None = None
        self._called = False
        self._cut: Reason | None = None
        self._status: int | None = None
        self._response: Any = None

    def start(self, request: Request, timeout_seconds: float) -> None:
        """Send the request."""
        clock: Any = self._transport.clock
        body: Any = RequestBody(request.body) if request.body else None
        self._deadline = self._transport.deadlines.set(timeout_seconds, partial(self.end, Reason.TIMEOUT))
        lines = request.lines + b"Connection: close\r\n" if self._fresh else request.lines
        try:
            pending = HTTPClient(self, NO_COOKIES, as_it_is).request(
                request.method,
                prepared_url(request.url),
                headers=SentHeaders(lines),
                data=body,
                cookies=NO_COOKIES,
                allow_redirects=False,
                unbuffered=True,
                reactor=clock,
            )
        except Exception:  # noqa: BLE001 - every exception becomes a value
            self._failed(Failure())
            return
        self._pending = pending
        pending.addCallbacks(self._headers_came, self._failed)

    def cut(self, reason: Reason) -> None:
        """End the exchange now, with a `NoResponse` of this reason."""
        if self._done is None:
            return
        self._cut = reason
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        self._failed(None)
        self._abort()

    def end(self, reason: Reason, readings: int = MOST_READINGS) -> None:
        """End the exchange like `cut`, but only after reading what has arrived: that may be the answer."""
        if self._done is None:
            return
        if readings and self._connection is not None and has_unread(self._connection):
            clock: Any = self._transport.clock
            clock.callLater(0.0, self.end, reason, readings - 1)
        else:
            self.cut(reason)

    def _connect_late(self) -> None:
        # A connection that has just been opened is noticed in the next turn of the reactor at the latest.
        clock: Any = self._transport.clock
        clock.callLater(0.0, self._connect_too_late)

    def _connect_too_late(self) -> None:
        if self._connection is None:
            self.cut(Reason.CONNECT_TIMEOUT)

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[IResponse]:
        """Send a request for treq (IAgent), with `SentHeaders` and a `RequestBody`."""
        route = self._route
        uri_parts, address, line = _taken_apart(method, uri, route.absolute)
        server = (route, *address)
        head = line + route.lines + headers.lines
        connection = None if self._fresh else self._transport.kept.take(server)
        if connection is not None:
            sent = self._send(connection, method, head, bodyProducer)
        else:
            transport = self._transport
            self._connect_deadline = transport.deadlines.set(
                transport.bounds.connect_timeout_seconds, self._connect_late
            )
            idle = _let_go if self._fresh else partial(transport.kept.keep, server)
            connecting: Deferred[Any] = route.endpoints.endpointForURI(uri_parts).connect(ConnectionFactory(idle))
            sent = connecting.addCallback(self._send, method, head, bodyProducer)
        return sent

    def _send(
        self, connection: HttpConnection, method: bytes, head: bytes, body: RequestBody | None
    ) -> Deferred[IResponse]:
        if self._connect_deadline is not None:
            self._connect_deadline.meet()
        if self._done is None or not self._may_write():
            connection.abort()
            self._cut = self._cut or Reason.STOPPED
            raise _NotNow
        self._connection = connection
        self._called = True
        return connection.send(method, head, body.whole if body else b"", self._transport.bounds.read_bytes)

    def _headers_came(self, response: Any) -> None:
        self._pending = None
        if self._done is None:
            self._abort()
            return
        status = response.code  # treq's response reads each through a layer of its own
        if status == 407 and self._route.absolute:
            # The proxy's own answer (RFC 9110, 15.5.8): the server has received nothing.
            problem = "the proxy requires credentials, or other ones: it answered 407"
            self._finish(NoResponse(Reason.CONNECT_FAILED, False, problem, seconds=self._seconds()))
            self._abort()
            return
        self._status = status
        self._response = response
        response.deliverBody(BodyReader(self._transport.bounds.read_bytes, self._body_ended))

    def _body_ended(self, body: bytes, reason: Failure) -> None:
        if self._done is None:
            return
        # A body without a length ends with its connection (RFC 9112, 6.3): nothing more can be known about its end.
        if not isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self._broke_off(body, reason)
            return
        bounds, status = self._transport.bounds, self._status
        assert status is not None
        # A 200 may be a failure too, by its protocol or by the original success rule.
        if 200 <= status < 300 and self._read is None and not bounds.search_true:
            self._finish(Answer(status, {}, body[: bounds.kept_bytes], self._seconds()))
            return
        try:
            body = decoded(body, self._response.headers.codings, bounds.read_bytes)
        except (Undecodable, TooMuch) as problem:
            self._broke_off(body, Failure(problem))
            return
        headers = self._judged_headers()
        reading = None if self._read is None else self._read(Answer(status, headers, body))
        if isinstance(reading, Deferred):
            # The answer has arrived; the time for reading it is not a delay of the target.
            self._meet_deadlines()
            reading.addCallback(self._was_read, status, headers, body)
        else:
            self._was_read(reading, status, headers, body)

    def _was_read(self, reading: ResponseReading | None, status: int, headers: dict[str, str], body: bytes) -> None:
        if self._done is None:
            return
        bounds = self._transport.bounds
        answer = answer_of(
            status, headers, body, kept_bytes=bounds.kept_bytes, search_true=bounds.search_true,
            seconds=self._seconds(), reading=reading,
        )  # fmt: skip
        self._finish(answer)

    def _broke_off(self, body: bytes, reason: Failure) -> None:
        """End with a body that did not arrive completely, or cannot be read.

        A status that is not a success decides alone. With a success the work may be done, so the received part of the
        body is kept for a person.
        """
        status, kept = self._status, body[: self._transport.bounds.kept_bytes]
        fault = fault_of(reason, called=True, cut=None, status=status, seconds=self._seconds())
        exchange: Exchange = fault
        if fault.reason in UNREADABLE and status is not None:
            if 200 <= status < 300:
                exchange = replace(fault, body=kept)
            else:
                exchange = Answer(status, self._judged_headers(), kept, self._seconds())
        if self._connection is not None and self._connection.is_busy:
            self._abort()
        self._finish(exchange)

    def _judged_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for name in _JUDGED_HEADERS if self._read is None else _READ_HEADERS:
            values = self._response.headers.getRawHeaders(name)
            if values:
                headers[name] = values[-1]
        return headers

    def _failed(self, failure: Failure | None) -> None:
        if self._done is not None:
            self._finish(
                fault_of(failure, called=self._called, cut=self._cut, status=self._status, seconds=self._seconds())
            )

    def _finish(self, exchange: Exchange) -> None:
        done, self._done = self._done, None
        self._pending = None
        self._meet_deadlines()
        if done is not None:
            done(exchange)

    def _meet_deadlines(self) -> None:
        for deadline in (self._deadline, self._connect_deadline):
            if deadline is not None:
                deadline.meet()
        self._deadline = self._connect_deadline = None

    def _abort(self) -> None:
        # An orderly close would wait for a TLS peer to agree, and an endless body would continue to arrive.
        if self._connection is not None:
            self._connection.abort()

    def _seconds(self) -> float:
        return self._transport.clock.seconds() - self._begun_at


@lru_cache(maxsize=4_096)
def _taken_apart(method: bytes, url: bytes, absolute: bool) -> tuple[URI, tuple[bytes, bytes, int], bytes]:
    """Return a URL's parts, its server and the request line (RFC 9112, 3), in absolute form for a proxy.

    A method or URL that would blur where that line ends is refused before any connection is opened for it.

    :raises ValueError: the text says what is wrong.
    """
    if not _TOKEN.fullmatch(method):
        raise ValueError("a method is a token (RFC 9110, 9.1)")
    if not _VISIBLE.fullmatch(url):
        raise ValueError("a URL is made of visible ASCII characters")
    parts = URI.fromBytes(bytes(url))  # as plain bytes: ours cannot be split
    resource = url if absolute else parts.originForm
    return parts, (parts.scheme, parts.host, parts.port), b"%s %s HTTP/1.1\r\n" % (method, resource)


def _let_go(connection: HttpConnection) -> None:
    cast(Any, connection.transport).loseConnection()


class _NotNow(Exception):
    """The request must not be written now."""

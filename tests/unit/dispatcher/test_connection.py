"""connection and pool: one request at a time over a connection, whatever the server sends and in whatever pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from zope.interface.verify import verifyObject

from ap4r.dispatcher.http_client.connection import HttpConnection
from ap4r.dispatcher.http_client.headers import header_lines
from ap4r.dispatcher.http_client.pool import KEPT_SECONDS, Pool
from ap4r.dispatcher.http_client.response_framing import FEW_BYTES, MANY_BYTES, MOST_HEAD_BYTES
from ap4r.dispatcher.http_client.response_head import NotHttp
from tests.support.memory_socket import MemoryConnection

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: a\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
AFTER_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
SERVER = (b"http", b"localhost", 80)


class Reader(Protocol):
    """Keeps a body and how it ended."""

    def __init__(self):
        self.body = b""
        self.ended = None

    def dataReceived(self, data):
        self.body += data

    def connectionLost(self, reason):
        self.ended = reason.type


class Line:
    """A connection on a transport in memory, with a request sent over it."""

    def __init__(self, method=b"POST", body=b"id=12"):
        self.idle = []
        self.connection = HttpConnection(self.idle.append)
        self.transport = StringTransport()
        self.connection.makeConnection(self.transport)
        self.response = self.failure = None
        self.reader = Reader()
        self.send(method, body)

    def send(self, method=b"POST", body=b"id=12"):
        lines = header_lines({b"host": [b"localhost"], b"x-two": [b"a", b"b"]})
        sent = self.connection.send(method, method + b" /hook?a=1 HTTP/1.1\r\n" + lines, body, 1_000)
        sent.addCallbacks(self.answered, self.failed)

    def answered(self, response):
        self.response = response
        response.deliverBody(self.reader)

    def failed(self, failure):
        self.failure = failure

    def lose(self, error=ConnectionDone):
        self.connection.connectionLost(Failure(error()))


def test_a_request_is_written_whole():
    """Method, resource, every header, the length and the body go out as they were given."""
    head, _, body = Line().transport.value().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /hook?a=1 HTTP/1.1"
    assert sorted(line.lower() for line in lines[1:]) == [
        b"accept-encoding: identity",
        b"content-length: 5",
        b"host: localhost",
        b"x-two: a",
        b"x-two: b",
    ]
    assert body == b"id=12"


@pytest.mark.parametrize(
    ("method", "says_length"), [(b"POST", True), (b"PUT", True), (b"GET", False), (b"HEAD", False)]
)
def test_no_body_is_said_where_one_is_expected(method, says_length):
    """A POST without a body says so; a GET says nothing (RFC 9110, 8.6)."""
    assert (b"content-length: 0" in Line(method, b"").transport.value().lower()) == says_length


@given(st.sampled_from([PLAIN, CHUNKED, AFTER_INTERIM]), st.lists(st.integers(0, 200)))
def test_pieces_make_no_difference(answer, cuts):
    """A response is the same in whatever pieces it comes, and leaves a connection that can go on."""
    line = Line()
    edges = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            line.connection.dataReceived(answer[start:end])
    assert (line.response.code, line.reader.body, line.reader.ended) == (200, b"hello", ResponseDone)
    assert line.idle == [line.connection]
    assert not line.transport.disconnecting


def test_the_response_is_what_twisted_calls_one():
    """The response keeps IResponse, its headers and its length."""
    line = Line()
    line.connection.dataReceived(PLAIN)
    assert verifyObject(IResponse, line.response)
    assert line.response.version == (b"HTTP", 1, 1)
    assert line.response.phrase == b"OK"
    assert line.response.length == 5
    assert line.response.headers.getRawHeaders(b"x-one") == [b"a"]


def test_a_connection_carries_one_request_after_the_other():
    """A kept connection gives each request its own response."""
    line = Line()
    line.connection.dataReceived(PLAIN)
    line.reader = Reader()
    line.send()
    line.connection.dataReceived(PLAIN.replace(b"200 OK", b"404 No").replace(b"hello", b"there"))
    assert (line.response.code, line.reader.body) == (404, b"there")
    assert len(line.idle) == 2


def test_a_body_waits_for_its_reader():
    """Who asks for the body late gets all of it, and its end."""

    class LateLine(Line):
        def answered(self, response):
            self.response = response

    line = LateLine()
    line.connection.dataReceived(PLAIN)
    line.response.deliverBody(line.reader)
    assert (line.reader.body, line.reader.ended) == (b"hello", ResponseDone)


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN.replace(b"X-One: a", b"Connection: close"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        PLAIN + b"garbage",
    ],
)
def test_what_cannot_be_kept_is_closed(answer):
    """A server that closes, or sends more than was asked for, has answered, and its connection ends."""
    line = Line()
    line.connection.dataReceived(answer)
    assert (line.response.code, line.reader.body, line.reader.ended) == (200, b"hello", ResponseDone)
    assert line.idle == []
    assert line.transport.disconnecting


@pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_without_a_body_ends_with_its_head(code):
    """204 and 304 have no body, whatever their headers say (RFC 9112, 6.3)."""
    line = Line()
    line.connection.dataReceived(b"HTTP/1.1 " + code + b"\r\n\r\n")
    assert (line.reader.body, line.reader.ended) == (b"", ResponseDone)
    assert line.idle == [line.connection]


def test_the_answer_to_head_has_no_body():
    """A HEAD is answered by its head alone, though that names a length."""
    line = Line(b"HEAD", b"")
    line.connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert (line.response.code, line.reader.body, line.reader.ended) == (200, b"", ResponseDone)


def test_a_body_without_a_length_ends_with_its_connection():
    """Nothing tells whether it was whole, and that is what is said."""
    line = Line()
    line.connection.dataReceived(b"HTTP/1.0 200 OK\r\n\r\nhello")
    line.lose()
    assert (line.reader.body, line.reader.ended) == (b"hello", PotentialDataLoss)


@pytest.mark.parametrize("part", [PLAIN[:-1], CHUNKED[:-2], CHUNKED[:-9]])
def test_a_body_that_was_cut_is_a_failure(part):
    """A length that was not reached, or a chunk that did not end, is no answer."""
    line = Line()
    line.connection.dataReceived(part)
    line.lose()
    assert line.reader.ended is ResponseFailed


@pytest.mark.parametrize("part", [b"", PLAIN[:20]])
@pytest.mark.parametrize("error", [ConnectionDone, ConnectionLost])
def test_a_connection_lost_before_the_head_is_no_response(part, error):
    """The failure says so and keeps the reason."""
    line = Line()
    if part:
        line.connection.dataReceived(part)
    line.lose(error)
    assert line.failure.type is ResponseNeverReceived
    assert line.failure.value.reasons[0].type is error


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MOST_HEAD_BYTES,
    ],
    ids=["another protocol", "no number", "upgrade", "endless head"],
)
def test_what_is_not_http_ends_the_connection(garbage):
    """Anything but a response of HTTP/1 is a failure, and the connection is not used again."""
    line = Line()
    line.connection.dataReceived(garbage)
    assert line.failure.type is NotHttp
    assert line.transport.disconnecting or line.transport.disconnected
    assert line.idle == []


def test_unrequested_bytes_end_an_idle_connection():
    """A connection that is out of step is never used again."""
    line = Line()
    line.connection.dataReceived(PLAIN)
    line.connection.dataReceived(PLAIN)
    assert line.transport.disconnecting or line.transport.disconnected


def test_a_server_does_not_choose_how_long_reading_takes():
    """Heads and small chunks are read 4 KiB a turn of the reactor, a body and large chunks in large portions."""
    connection = HttpConnection(lambda idle: None)
    transport = MemoryConnection(connection)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for answer, most in (
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000 + PLAIN, FEW_BYTES),
        (head + b"1\r\na\r\n" * 5_000 + b"0\r\n\r\n", FEW_BYTES),
        (head + b"186A0\r\n" + b"a" * 100_000 + b"\r\n0\r\n\r\n", MANY_BYTES),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"a" * 200_000, MANY_BYTES),
    ):
        answered, reader = connection.send(b"POST", b"POST / HTTP/1.1\r\n", b"", 1_000_000), Reader()
        answered.addCallback(lambda response, reader=reader: response.deliverBody(reader))
        transport.memory_socket.unread, turns = answer, []
        while transport.memory_socket.unread:
            turns.append(transport.turn())
        assert (turns[0], max(turns), reader.ended) == (FEW_BYTES, most, ResponseDone)


def test_the_pool_gives_back_the_last_used():
    """The connection that was used last is given first, each to one only."""
    pool = Pool(Clock(), 4)
    first, second = Line().connection, Line().connection
    pool.keep(SERVER, first)
    pool.keep(SERVER, second)
    assert [pool.take(SERVER), pool.take(SERVER), pool.take(SERVER)] == [second, first, None]
    assert pool.take((b"http", b"other", 80)) is None


def test_the_pool_lets_old_connections_go():
    """One that was idle for long is closed by itself and not given out; no timer stays behind."""
    clock = Clock()
    pool = Pool(clock, 4)
    old = Line()
    pool.keep(SERVER, old.connection)
    clock.pump([KEPT_SECONDS / 2] * 5)
    assert old.transport.disconnecting
    assert pool.take(SERVER) is None
    assert clock.getDelayedCalls() == []


def test_the_pool_keeps_no_more_than_it_may_and_none_that_is_lost():
    """Beyond its bound a connection is closed; one that has ended is passed over."""
    pool = Pool(Clock(), 1)
    lost, kept, surplus = Line(), Line(), Line()
    pool.keep(SERVER, lost.connection)
    lost.lose()
    assert pool.take(SERVER) is None
    pool.keep(SERVER, kept.connection)
    pool.keep(SERVER, surplus.connection)
    assert surplus.transport.disconnecting
    assert pool.take(SERVER) is kept.connection


def test_closing_the_pool_closes_what_it_keeps():
    """Nothing stays open or timed."""
    clock = Clock()
    pool = Pool(clock, 4)
    kept = Line()
    pool.keep(SERVER, kept.connection)
    pool.close()
    assert kept.transport.disconnecting
    assert clock.getDelayedCalls() == []

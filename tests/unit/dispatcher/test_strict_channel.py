"""Requests that two servers could read differently are refused, by `--app` and at the listening address alike."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ap4r.dispatcher.app_server.request import AppSite
from ap4r.dispatcher.http_server.connections import Connections
from ap4r.dispatcher.http_server.site import PlainSite
from ap4r.dispatcher.http_server.strict_channel import FEW_BYTES
from tests.support.listening import Missing, arrivals_of
from tests.support.memory_socket import MemoryConnection

CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
POST = b"POST /messages HTTP/1.1\r\nHost: localhost\r\n"
ODD = {
    "chunked twice in one header": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    "gzip and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "identity, then chunked": POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked, then identity": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
    "two headers": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "nothing": POST + b"Transfer-Encoding:\r\n\r\n",
    "a comma": POST + b"Transfer-Encoding: chunked,\r\n\r\n",
    "a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n",
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "a quotation": POST + b'Transfer-Encoding: "chunked"\r\n\r\n',
    "with a length": POST + b"Content-Length: 20\r\nTransfer-Encoding: chunked\r\n\r\n",
    "before a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 20\r\n\r\n",
    "identity with a length": POST + b"Transfer-Encoding: identity\r\nContent-Length: 20\r\n\r\n",
    "folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    "folded on": POST + b"X-A: b\r\n\tTransfer-Encoding: chunked\r\n\r\n",
    "a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n",
    "HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\n",
    "a signed length": POST + b"Content-Length: +5\r\n\r\n",
    "lines that end with LF": POST.replace(b"\r\n", b"\n") + b"\n",
    "one line that ends with LF": POST.replace(b"\r\n", b"\n", 1) + b"\r\n",
    "LF behind the headers": POST + b"\n",
    "an endless length": POST + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
}


def app_channel():
    """Connect to what serves an application."""
    call = lambda call: pytest.fail("it was called")  # noqa: E731
    return AppSite(Clock(), call, lambda call: call(), Connections(1_000)).buildProtocol(None)


def intake_channel():
    """Connect to the listening address."""
    return PlainSite(Missing(), arrivals_of(), lambda request: pytest.fail("it was taken")).buildProtocol(None)


@pytest.mark.parametrize("connect", [app_channel, intake_channel])
@pytest.mark.parametrize("step", [1, 10_000], ids=["by the byte", "at once"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_request_is_refused(connect, step, name):
    """With 400 and a closed connection, before its body; what comes behind is read as no request."""
    channel, transport = connect(), StringTransport()
    channel.callLater = Clock().callLater
    channel.makeConnection(transport)
    data = ODD[name] + CHUNKED + b"GET /behind HTTP/1.1\r\n\r\n"
    for place in range(0, len(data), step):
        channel.dataReceived(data[place : place + step])
    said = transport.value()
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in said
    assert transport.disconnecting


@pytest.mark.parametrize("step", [1, 10_000], ids=["by the byte", "at once"])
@pytest.mark.parametrize("connect", [app_channel, intake_channel])
def test_lines_without_cr_are_answered_without_more(connect, step):
    """A client that ends its lines with LF alone, and waits, is refused at once; its CR LF may come in two parts."""
    for data, says in (
        (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r", b""),
    ):
        channel, transport = connect(), StringTransport()
        channel.callLater = Clock().callLater
        channel.makeConnection(transport)
        for place in range(0, len(data), step):
            channel.dataReceived(data[place : place + step])
        assert transport.value()[9:12] == says
        assert transport.disconnecting is bool(says)


def test_a_head_that_is_too_long_is_refused():
    """A long request line with 414, many headers with 431."""
    for data, status in (
        (b"GET /" + b"a" * 200_000, b"414"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 40_000, b"431"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, b"431"),
    ):
        channel, transport = app_channel(), StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(data)
        assert transport.value().startswith(b"HTTP/1.1 " + status)
        channel.setTimeout(None)


def test_what_is_no_body_of_a_known_length_is_read_in_portions():
    """A client decides what a turn takes: headers and chunks are read 16 KiB a turn of the reactor, a body is not."""
    channel = PlainSite(Missing(), arrivals_of(), None).buildProtocol(None)
    connection = MemoryConnection(channel)
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n"
    plain = POST + b"Content-Length: 600000\r\n\r\n"
    connection.memory_socket.unread = chunked + plain + b"a" * 600_000 + POST
    turns = []
    while connection.memory_socket.unread:
        turns.append(connection.turn())
        channel.resumeProducing()
        channel._go_on()
    channel.setTimeout(None)
    assert max(turns[: len(chunked) // FEW_BYTES]) == FEW_BYTES
    assert max(turns) == 4 * FEW_BYTES
    assert connection.bufferSize == FEW_BYTES

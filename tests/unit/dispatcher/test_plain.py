"""The short way of plain requests: what it takes is read as Twisted reads it, and all else is Twisted's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ap4r.dispatcher.http_server.site import PlainRequest, PlainSite, read_plain
from tests.support.listening import Missing, arrivals_of

BODY = b'{"target": "/x"}'
HEADERS = b"Host: localhost\r\nContent-Type: application/json\r\n"
POST = b"POST /messages HTTP/1.1\r\n"


def request(body=BODY, headers=HEADERS, more=b"", line=POST):
    """Write a request."""
    return line + headers + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Site:
    """A site on a clock, that keeps what it was given, and one connection to it."""

    def __init__(self):
        self.plain = []
        self.refused = []
        self.arrivals = arrivals_of(self.refused.append)
        self.clock = Clock()
        self.site = site = PlainSite(Missing(), self.arrivals, self.plain.append)
        self.channel = site.buildProtocol(None)
        self.channel.callLater = self.clock.callLater
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    @property
    def said(self):
        """What was answered since the last look."""
        value = self.transport.value()
        self.transport.clear()
        return value


def answer(one):
    """Answer a plain request."""
    one.respond(202, "application/json", b"{}\n", {})


class TestReading:
    def test_a_plain_request(self):
        """Headers come by lower-case name, without blanks around their values, and the body as it is."""
        fields, body = read_plain(request(b"\0\r\n\r\nx", more=b"X-Own:  a b \t\r\nX-None:\r\n"))
        assert body == b"\0\r\n\r\nx"
        assert fields[b"content-type"] == (b"application/json",)
        assert (fields[b"x-own"], fields[b"x-none"]) == ((b"a b",), (b"",))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            request()[:-1],
            request() + b"x",
            request() + request(),
            request(b""),
            request(line=b"POST /messages HTTP/1.0\r\n"),
            request(line=b"POST /messages?a HTTP/1.1\r\n"),
            request(line=b"post /messages HTTP/1.1\r\n"),
            request(line=b"PUT /messages HTTP/1.1\r\n"),
            request(line=b"POST /messages HTTP/1.1\n"),
            request(more=b"Host: other\r\n"),
            request(more=b"host: localhost\r\n"),
            request(more=b"Content-Length: 16\r\n"),
            request(more=b"Transfer-Encoding: chunked\r\n"),
            request(more=b"transfer-encoding : chunked\r\n"),
            request(more=b"Expect: 100-continue\r\n"),
            request(more=b"Connection: close\r\n"),
            request(more=b"Connection: keep-alive, Upgrade\r\n"),
            request(more=b"Cookie: a=b\r\n"),
            request(more=b" folded\r\n"),
            request(more=b"X-Own: a\r\n folded\r\n"),
            request(more=b"X-Own\r\n"),
            request(more=b"X-Own : a\r\n"),
            request(more=b": a\r\n"),
            request(more=b"X-Own: a\n"),
            request(more=b"X-Own: a\rb\r\n"),
            request(more=b"X-Own: a\0\r\n"),
            request(more=b"X-Own: " + b"a" * 8_192 + b"\r\n"),
            request().replace(b"Content-Length: 16", b"Content-Length: +16"),
            request().replace(b"Content-Length: 16", b"Content-Length: 1_6"),
            request().replace(b"Content-Length: 16\r\n", b""),
        ],
    )
    def test_all_else_goes_the_long_way(self, data):
        """What is not whole, or odd in any way, is not judged here."""
        assert read_plain(data) is None

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"Host", b"X-Own", b"x-own", b"Connection", b"Content-Type", b"Transfer-Encoding"])
                | st.binary(max_size=4),
                st.sampled_from([b":", b": ", b" :", b""]),
                st.sampled_from([b"a", b"keep-alive", b"chunked", b"3", b"\xff"]) | st.binary(max_size=4),
                st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n ", b" \r\n"]),
            ),
            max_size=4,
        ),
        st.binary(max_size=6),
    )
    def test_it_is_read_as_twisted_reads_it(self, lines, body):
        """Of generated requests, those that go the short way have the headers and body that Twisted finds in them."""
        data = request(body, b"Host: h\r\n", b"".join(b"".join(line) for line in lines))
        read = read_plain(data)
        if read is None:
            return
        site, found = Site(), []
        site.channel._is_plain = False
        site.channel.requestFactory = type(
            "Found",
            (site.channel.requestFactory,),
            {"process": lambda self: found.append((self.method, self.path, self.fields, self.body))},
        )
        site.channel.dataReceived(data)
        [(method, path, fields, whole)] = found
        assert (method, path, whole) == (b"POST", b"/messages", read[1])
        assert {name: list(values) for name, values in read[0].items()} == fields


class TestConnections:
    def test_one_after_another(self):
        """Each is answered in one piece before the next is taken, on the same connection."""
        site = Site()
        for number in range(3):
            site.channel.dataReceived(request(more=b"Connection: keep-alive\r\n"))
            assert len(site.plain) == number + 1
            answer(site.plain[-1])
            said = site.said
            assert said.startswith(b"HTTP/1.1 202 Accepted\r\n")
            assert said.endswith(b"\r\nContent-Length: 3\r\n\r\n{}\n")

    def test_what_comes_behind_waits(self):
        """Requests that come before the answer are taken after it, in their order, and the sender is slowed down."""
        site = Site()
        for text in (b'"1"', b'"2"', b'"3"'):
            site.channel.dataReceived(request(text))
        assert [one.body for one in site.plain] == [b'"1"']
        assert site.transport.producerState == "paused"
        answer(site.plain[0])
        site.clock.advance(0)
        assert site.transport.producerState == "producing"
        # Two in one piece are Twisted's to take apart.
        assert len(site.plain) == 1
        assert site.said.count(b"HTTP/1.1 202 ") == 1

    def test_many_in_one_piece_are_answered_one_in_a_turn(self):
        """Other connections have their turns in between: each further one is a call of the reactor's own."""
        site = Site()
        turns, call_later = [], site.channel.callLater
        site.channel.callLater = lambda seconds, go_on: turns.append(seconds) or call_later(seconds, go_on)
        site.channel.dataReceived(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 20)
        assert len(site.refused) == 1
        site.clock.advance(0)
        assert (len(site.refused), turns.count(0)) == (20, 19)
        assert site.transport.producerState == "producing"
        site.channel.dataReceived(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert len(site.refused) == 21

    def test_who_reads_no_answer_has_one_in_memory(self):
        """The requests behind it are neither read nor answered until it is taken off."""
        site = Site()
        site.transport.producer.pauseProducing()
        site.channel.dataReceived(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 20)
        site.clock.advance(0)
        site.clock.advance(0)
        assert len(site.refused) == 1
        assert site.transport.producerState == "paused"
        site.transport.producer.resumeProducing()
        assert len(site.refused) == 1
        site.clock.advance(0)
        assert len(site.refused) == 20

    def test_what_is_behind_a_lost_connection_is_not_answered(self):
        """Its requests end with it."""
        site = Site()
        site.channel.dataReceived(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 20)
        site.channel.connectionLost()
        site.clock.advance(0)
        assert len(site.refused) == 1

    def test_who_does_not_read_is_not_read_either(self):
        """Answers that are not taken off hold up the requests behind them, as Twisted holds them up."""
        site = Site()
        site.channel.dataReceived(request())
        site.channel.dataReceived(request())
        site.transport.producer.pauseProducing()
        answer(site.plain[0])
        assert site.transport.producerState == "paused"
        assert len(site.plain) == 2
        answer(site.plain[1])
        site.transport.producer.resumeProducing()
        assert site.transport.producerState == "producing"

    def test_after_an_odd_one_all_are_twisteds(self):
        """A connection that has left the short way stays on the other."""
        site = Site()
        site.channel.dataReceived(request(more=b"Cookie: a=b\r\n"))
        assert site.said.startswith(b"HTTP/1.1 404 ")
        site.channel.dataReceived(request())
        assert site.plain == []
        assert len(site.refused) == 2, "Twisted's way has looked at both"

    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n",
            b"POST /messages\r\n",
            POST + b"X-Own\r\n\r\n",
            POST + b"X-Own : a\r\n\r\n",
            POST + b"X-Own: a\0\r\n\r\n",
            POST + b"Content-Length: -1\r\n\r\n",
            POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
            POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
            POST + b"X-Own: a\r\n" * 600 + b"\r\n",
        ],
    )
    def test_what_is_no_http_is_answered_like_other_errors(self, data):
        """With JSON that says so, once, and the connection ends."""
        site = Site()
        site.channel.dataReceived(data)
        head, _, body = site.said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert {b"Content-Type: application/json", b"Connection: close"} < set(head.split(b"\r\n"))
        assert json.loads(body)["error"] == "malformed"
        assert site.transport.disconnecting

    def test_a_request_in_pieces(self):
        """What does not come whole goes the long way from its beginning."""
        site = Site()
        site.channel.dataReceived(request()[:30])
        site.channel.dataReceived(request()[30:])
        assert site.plain == []
        assert site.said.startswith(b"HTTP/1.1 404 ")

    def test_who_has_gone_is_not_answered(self):
        """A connection that ends before the response is reported, and its body is not counted any more."""
        site = Site()
        site.channel.dataReceived(request())
        [one] = site.plain
        assert (one.is_gone, site.arrivals.held_bytes) == (False, len(BODY))
        site.channel.connectionLost()
        assert (one.is_gone, site.arrivals.held_bytes) == (True, 0)

    def test_the_bodies_of_all_are_bounded(self):
        """Without room for another body it is Twisted's way that refuses it."""
        site = Site()
        site.arrivals.held_bytes = 2**28
        site.channel.dataReceived(request())
        assert site.plain == []
        assert b"503" in site.said

    def test_idle_connections_end(self):
        """A connection without a request is ended after a minute; one that waits for its answer is not."""
        site = Site()
        site.channel.dataReceived(request())
        site.clock.advance(70)
        assert not site.transport.disconnecting
        answer(site.plain[0])
        site.clock.advance(70)
        assert site.transport.disconnecting

    def test_a_request_has_one_deadline_from_its_first_byte_to_its_last(self):
        """Bytes that trickle in, of the request line, a header or the body, do not begin it again."""
        whole = request(more=b"Cookie: a=b\r\n")
        for beginning in (b"P", POST + b"Ho", whole[:-3]):
            site = Site()
            site.channel.dataReceived(beginning)
            for _ in range(9):
                site.clock.advance(3)
                site.channel.dataReceived(b"" if beginning == whole[:-3] else b"x")
                assert not site.transport.disconnecting
            site.clock.advance(3.1)
            assert site.transport.disconnecting, beginning

    def test_a_late_body_is_answered(self):
        """408, and the connection ends."""
        site = Site()
        site.channel.dataReceived(request(more=b"Cookie: a=b\r\n")[:-3])
        site.clock.advance(30.1)
        assert site.said.startswith(b"HTTP/1.1 408 ")
        assert site.transport.disconnecting

    @pytest.mark.parametrize("line", [b"GET /healthz HTTP/1.1", b"POST /nowhere HTTP/1.1", b"PUT /messages HTTP/1.1"])
    @pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked", b"Content-Length: 1000000"])
    def test_a_body_that_no_rule_allows_is_not_read(self, line, framing):
        """It is refused by its headers; nothing of it is kept, however much comes."""
        site = Site()
        site.channel.dataReceived(line + b"\r\nHost: localhost\r\n" + framing + b"\r\n\r\n")
        for _ in range(100):
            site.channel.dataReceived(b"800\r\n" + b"a" * 2_048 + b"\r\n")
        assert site.said[9:12] in (b"404", b"405", b"413")
        assert site.arrivals.held_bytes == 0
        assert site.channel.requests[-1].body == b""

    def test_no_other_protocol_is_offered(self):
        """A listener with TLS agrees upon nothing that is not read here."""
        assert Site().site.acceptableProtocols() == [b"http/1.1"]

    def test_an_address_is_reported(self):
        """Whose request it is can be asked, for its rate."""
        site = Site()
        site.channel.dataReceived(request())
        assert isinstance(site.plain[0], PlainRequest)
        assert site.plain[0].getClientAddress() == site.transport.getPeer()

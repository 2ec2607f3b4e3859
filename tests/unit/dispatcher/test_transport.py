"""transport: one exchange over the real HTTP client, without sockets."""

from __future__ import annotations

import gzip

import pytest
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock

from ap4r.dispatcher.delivery.request import Request
from ap4r.dispatcher.http_client.client import Bounds, HttpClient
from ap4r.dispatcher.http_client.headers import header_lines
from ap4r.dispatcher.http_client.pool import KEPT_SECONDS
from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Answer, NoResponse, Reason
from tests.support.factories import message, messages
from tests.unit.dispatcher.world import RESET, Targets, http


class Bench:
    """A transport between a fake clock and scripted targets."""

    def __init__(self, **bounds):
        self.clock = Clock()
        self.targets = Targets(self.clock)
        self.allowed = True
        self.ends = []
        self.transport = HttpClient(self.clock, self.targets, Bounds(**bounds), connections=10)

    def call(self, path="/x", *, method="POST", body=b"a=1", headers=None, fresh=False, timeout_seconds=30.0, url=None):
        """Begin an exchange."""
        request = Request(method, url or f"http://a.example{path}", header_lines(headers or {}), body)
        return self.transport.begin(
            request, timeout_seconds, self.ends.append, may_write=lambda: self.allowed, fresh=fresh
        )

    def end(self, seconds=0.1):
        """Advance time, and return the one end."""
        for _ in range(20):
            self.clock.advance(seconds / 20)
        [end] = self.ends
        self.ends.clear()
        return end


def test_what_is_sent():
    """Method, path with its query, headers and body, in one piece with its length."""
    bench = Bench()
    bench.call("/a%20b?c=%C3%A9&d", method="put", body=b"\x00\xff" * 40_000, headers={b"x-a": [b"1", b"2"]})
    assert bench.end() == Answer(200, {}, b"ok", pytest.approx(0.0, abs=0.01))
    [received] = bench.targets.received
    assert (received.method, received.path) == ("PUT", "/a%20b?c=%C3%A9&d")
    assert received.body == b"\x00\xff" * 40_000
    assert received.headers["content-length"] == "80000"
    assert received.headers["x-a"] == "2"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH", "OPTIONS"])
def test_every_method_without_a_body(method):
    """An empty body is no error."""
    bench = Bench()
    bench.targets.scripts["/x"] = http(204)
    bench.call(method=method, body=b"")
    assert bench.end().status == 204


def test_redirects_are_not_followed():
    """A 3xx is an answer like others."""
    bench = Bench()
    bench.targets.scripts["/x"] = http(302, b"", "Location: http://b.example/")
    bench.call()
    assert bench.end().status == 302
    assert len(bench.targets.received) == 1


def test_no_cookie_goes_from_one_call_to_another():
    """Neither to the same target nor to another one."""
    bench = Bench()
    bench.targets.scripts["/x"] = http(200, b"", "Set-Cookie: session=secret; Path=/")
    for _ in range(3):
        bench.call()
        bench.end()
    assert all("cookie" not in received.headers for received in bench.targets.received)


def test_a_cookie_of_the_message_is_sent():
    """It is a header like others."""
    bench = Bench()
    bench.call(headers={b"cookie": [b"a=b"]})
    bench.end()
    assert bench.targets.received[0].headers["cookie"] == "a=b"


def test_nothing_compressed_is_asked_for_and_what_comes_is_read():
    """A person finds the text of a failed answer, and the original rule its "true"."""
    bench = Bench(search_true=True)
    bench.targets.scripts["/x"] = http(500, gzip.compress(b"no such order"), "Content-Encoding: gzip")
    bench.call()
    assert bench.end().body == b"no such order"
    assert bench.targets.received[0].headers["accept-encoding"] == "identity"


def test_accept_encoding_of_the_message_is_sent():
    """Who asks for it gets it."""
    bench = Bench()
    bench.call(headers={b"accept-encoding": [b"br"]})
    bench.end()
    assert bench.targets.received[0].headers["accept-encoding"] == "br"


def test_a_line_break_in_a_value_begins_no_new_header():
    """What a message says stays on its line."""
    bench = Bench()
    bench.call(headers={b"x-a": [b"1\r\nx-b: 2\n\nbody"]})
    bench.end()
    assert bench.targets.received[0].headers["x-a"] == "1 x-b: 2  body"
    assert "x-b" not in bench.targets.received[0].headers


class TestConnections:
    def test_they_are_kept_for_the_next_call(self):
        """One connection serves call after call."""
        bench = Bench()
        for _ in range(5):
            bench.call()
            bench.end()
        assert {received.connection for received in bench.targets.received} == {0}

    def test_they_are_let_go_soon(self):
        """Before common servers let go of them, so that no request meets the end of a connection."""
        bench = Bench()
        bench.call()
        bench.end()
        bench.clock.advance(KEPT_SECONDS)
        assert bench.targets.connections[0].lost
        bench.call()
        bench.end()
        assert [received.connection for received in bench.targets.received] == [0, 1]

    def test_a_fresh_one_is_used_once(self):
        """A call that must not fail for a stale connection has its own, and says that it is the only one."""
        bench = Bench()
        bench.call()
        bench.end()
        for _ in range(2):
            bench.call(fresh=True)
            bench.end()
        assert [received.connection for received in bench.targets.received] == [0, 1, 2]
        assert bench.targets.received[1].headers["connection"] == "close"
        assert bench.targets.connections[1].lost

    def test_once_messages_go_over_fresh_ones(self, world):
        """And the others over kept ones."""
        world.put(*messages(3, delivery=Delivery.ONCE))
        world.pass_time(0.1)
        world.put(message())
        world.pass_time(0.1)
        world.put(message())
        world.pass_time(0.1)
        assert [received.connection for received in world.targets.received] == [0, 1, 2, 3, 3]

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_a_stale_one_is_a_reset_and_never_a_second_call(self, method):
        """The pool repeats nothing by itself."""
        bench = Bench()
        bench.call()
        bench.end()
        bench.targets.scripts["/x"] = [RESET]
        bench.call(method=method, body=b"")
        end = bench.end()
        assert (end.reason, end.called) == (Reason.RESET, True)
        assert len(bench.targets.received) == 2

    def test_close_lets_go_of_them(self):
        """None outlives the dispatcher, and no timer."""
        bench = Bench()
        for _ in range(3):
            bench.call()
        bench.clock.pump([0.01] * 5)
        bench.transport.close()
        bench.clock.advance(0)
        assert all(connection.lost for connection in bench.targets.connections)
        assert bench.clock.getDelayedCalls() == []


class TestDeadlines:
    def test_connecting_has_its_own(self):
        """Nothing was written when it ends."""
        bench = Bench(connect_timeout_seconds=2.0)
        bench.targets.stuck.add("a.example:80")
        bench.call()
        bench.clock.advance(1.9)
        assert bench.ends == []
        end = bench.end(0.2)
        assert (end.reason, end.called) == (Reason.CONNECT_TIMEOUT, False)

    def test_a_connection_that_comes_about_afterwards_is_not_used(self):
        """The call has ended."""
        bench = Bench(connect_timeout_seconds=2.0)
        bench.targets.stuck.add("a.example:80")
        bench.call()
        bench.clock.advance(2.0)
        for come_about in bench.targets.waiting:
            come_about()
        bench.clock.advance(1.0)
        assert bench.targets.received == []
        assert len(bench.ends) == 1

    @pytest.mark.parametrize(
        "script",
        [[100.0], [b"HTTP/1.1 200 OK\r\n", 100.0], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 100.0]],
    )
    def test_one_covers_the_whole_exchange(self, script):
        """Before the header, in it, and in the body; and the connection is not kept."""
        bench = Bench()
        bench.targets.scripts["/x"] = script
        bench.call(timeout_seconds=3.0)
        bench.clock.pump([1.0, 1.0, 0.9])
        assert bench.ends == []
        end = bench.end(0.2)
        assert (end.reason, end.called) == (Reason.TIMEOUT, True)
        assert end.seconds == pytest.approx(3.0, abs=0.1)
        assert bench.targets.connections[0].lost

    def test_a_trickle_does_not_outlast_it(self):
        """That something comes now and then is not enough."""
        bench = Bench()
        bench.targets.scripts["/x"] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
            *[step for _ in range(100) for step in (0.5, b"x")],
        ]
        bench.call(timeout_seconds=3.0)
        bench.clock.pump([0.25] * 13)
        assert bench.end().reason is Reason.TIMEOUT


class TestBodies:
    def test_as_much_as_was_agreed(self):
        """A body of exactly the bound is read."""
        bench = Bench(read_bytes=1_000, kept_bytes=10)
        bench.targets.scripts["/x"] = http(500, b"x" * 1_000)
        bench.call()
        assert bench.end().body == b"x" * 10

    def test_more_is_broken_off(self):
        """One byte more is too large, and the connection is gone."""
        bench = Bench(read_bytes=1_000)
        bench.targets.scripts["/x"] = [b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1_001, 100.0]
        bench.call()
        end = bench.end()
        assert (end.reason, end.called, end.status) == (Reason.BODY_TOO_LARGE, True, 200)
        assert end.body == b"x" * 1_000
        assert bench.targets.connections[0].lost

    def test_headers_that_matter_are_reported(self):
        """In lower case, the last of several."""
        bench = Bench()
        bench.targets.scripts["/x"] = http(503, b"", "RETRY-AFTER: 7", "Ap4r-Retry: no", "X-Other: 1")
        bench.call()
        assert bench.end().headers == {"retry-after": "7", "ap4r-retry": "no"}


class TestGate:
    def test_nothing_is_written_when_it_is_shut(self):
        """Asked right before the first byte, over new and kept connections."""
        bench = Bench()
        bench.call()
        bench.end()
        bench.allowed = False
        for fresh in (True, False):
            bench.call(fresh=fresh)
            assert bench.end() == NoResponse(Reason.STOPPED, False, "stopped")
        assert len(bench.targets.received) == 1


class TestCut:
    def test_a_call_that_is_cut_ends_at_once(self):
        """And tells nothing more afterwards."""
        bench = Bench()
        bench.targets.scripts["/x"] = [1.0, *http(200)]
        call = bench.call()
        bench.clock.advance(0.1)
        call.cut(Reason.STOPPED)
        assert (bench.ends[0].reason, bench.ends[0].called) == (Reason.STOPPED, True)
        call.cut(Reason.STOPPED)
        bench.clock.pump([0.5] * 5)
        assert len(bench.ends) == 1

    def test_before_it_was_written_it_is_no_call(self):
        """What is connecting is simply dropped."""
        bench = Bench()
        bench.targets.stuck.add("a.example:80")
        call = bench.call()
        call.cut(Reason.STOPPED)
        assert (bench.ends[0].reason, bench.ends[0].called) == (Reason.STOPPED, False)

    def test_after_its_end_it_changes_nothing(self):
        """The end stands."""
        bench = Bench()
        call = bench.call()
        assert bench.end().status == 200
        call.cut(Reason.STOPPED)
        assert bench.ends == []


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"method": "G T"}, Reason.BAD_TARGET),
        ({"method": "GÉT"}, Reason.BAD_TARGET),
        ({"url": "http://a.example/x y"}, Reason.BAD_TARGET),
        ({"url": "http://a.example/x\r\nx-c: d"}, Reason.BAD_TARGET),
        ({"url": "http://a.example/é"}, Reason.BAD_TARGET),
    ],
)
def test_what_cannot_be_written_is_a_bad_target(request_, reason):
    """It becomes a value too, and no call took place."""
    bench = Bench()
    bench.call(**request_)
    end = bench.end()
    assert (end.reason, end.called) == (reason, False)


def test_a_name_that_is_not_found():
    """The failure of a look-up is the target's."""
    bench = Bench()
    bench.targets.failing["a.example:80"] = DNSLookupError("no such host")
    bench.call()
    assert bench.end().reason is Reason.NAME_NOT_FOUND


def test_every_exchange_leaves_no_timer(world):
    """After all has ended only the dispatcher's own timers are left."""
    before = len(world.clock.getDelayedCalls())
    world.put(*messages(20))
    world.pass_time(3)
    assert len(world.told(events.Settled)) == 20
    assert len(world.clock.getDelayedCalls()) <= before + 2

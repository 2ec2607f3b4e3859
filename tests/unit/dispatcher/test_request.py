"""request: what a target is sent."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from ap4r import __version__
from ap4r.dispatcher.request import build_request
from ap4r.outcome import DeliveryRules
from ap4r.storage.store import Lease
from tests.support.factories import NOW, message


def build(url="http://10.0.0.5:8000/do?a=1", *, attempt=1, expires_in_seconds=None, **described):
    """Build the request of a message."""
    lease = Lease(message(**described), 1, b"t", attempt, 0, 0, 0.0, expires_in_seconds)
    rules = DeliveryRules(give_up_after_seconds=1_000.0)
    return build_request(lease, url, lease.history(0.0), rules, now=NOW, span_id="00f067aa0ba902b7")


def header(request, name):
    """Give the one value of a header."""
    [value] = request.headers[name.encode()]
    return value.decode()


def test_what_the_message_says_is_sent():
    """Method, URL, body and headers, several of one name included."""
    request = build(method="PUT", body=b"a=1", headers=(("X-A", "1"), ("x-a", "2"), ("Content-Type", "text/x")))
    assert (request.method, request.url, request.body) == ("PUT", "http://10.0.0.5:8000/do?a=1", b"a=1")
    assert request.headers[b"x-a"] == [b"1", b"2"]
    assert header(request, "content-type") == "text/x"


def test_what_every_delivery_says():
    """Id, queue, attempt, the end of repeats, an idempotency key as a structured string, and who calls."""
    one = message("queue.search.reindex")
    request = build(id=one.id, queue="queue.search.reindex", attempt=3)
    assert header(request, "ap4r-message-id") == one.id
    assert header(request, "ap4r-queue") == "queue.search.reindex"
    assert header(request, "ap4r-attempt") == "3"
    assert header(request, "ap4r-expires") == str(int(NOW) + 1_000)
    assert header(request, "idempotency-key") == f'"{one.id}"'
    assert header(request, "user-agent") == f"ap4r/{__version__}"
    assert header(request, "host") == "10.0.0.5:8000"


def test_ap4r_expires_is_the_last_instant_of_repeats():
    """The message's own expiry when that is sooner; a whole number, never too early."""
    assert header(build(expires_in_seconds=10.2), "ap4r-expires") == str(int(NOW) + 11)


@pytest.mark.parametrize("name", ["User-Agent", "Idempotency-Key", "traceparent", "Host"])
def test_the_messages_own_word_wins(name):
    """Who says it himself means it."""
    assert header(build(headers=((name, "mine"),)), name.lower()) == "mine"


@pytest.mark.parametrize("name", ["Ap4r-Message-Id", "AP4R-QUEUE", "ap4r-attempt", "Ap4r-Expires"])
def test_nobody_else_speaks_for_the_dispatcher(name):
    """A message cannot claim to be another one."""
    assert header(build(headers=((name, "forged"),)), name.lower()) != "forged"


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Connection", "TE", "Upgrade", "Keep-Alive"])
def test_framing_is_the_transports(name):
    """A message cannot blur where its request ends."""
    assert name.lower().encode() not in build(headers=((name, "chunked"),)).headers


@pytest.mark.parametrize("queue", ["queue.a", "größe", "日本", "100 %", "a\tb"])
def test_any_queue_name_fits_into_a_header(queue):
    """What is not printable ASCII is percent-encoded, and decoding gives the name back."""
    told = header(build(queue=queue), "ap4r-queue")
    assert told.isascii()
    assert told.isprintable()
    assert " " not in told
    assert unquote(told) == queue


def test_attempts_of_one_message_are_one_trace():
    """traceparent (W3C) names the trace of the caller, else one made from the message's id, and a new span."""
    one = message(trace_id="0af7651916cd43dd8448eb211c80319c")
    request = build(trace_id=one.trace_id)
    assert header(request, "traceparent") == "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
    first, second = (build(id=one.id, attempt=attempt) for attempt in (1, 2))
    assert header(first, "traceparent").split("-")[1] == header(second, "traceparent").split("-")[1]
    assert header(first, "traceparent").split("-")[1] == one.id.replace("-", "")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.example/x", "a.example"),
        ("http://a.example:80/x", "a.example"),
        ("https://a.example:443/x", "a.example"),
        ("http://a.example:443/x", "a.example:443"),
        ("http://[::1]:8000/x", "[::1]:8000"),
    ],
)
def test_host_is_the_servers(url, host):
    """The port is named unless it is the scheme's own (RFC 9110, 7.2)."""
    assert header(build(url), "host") == host

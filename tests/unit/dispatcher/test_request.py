"""request: what a target is sent."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from ap4r import __version__
from ap4r.describe.describe import describe_message
from ap4r.dispatcher.delivery.caller_identity import PLAIN, CallerIdentities, CallerIdentity
from ap4r.dispatcher.delivery.request import build_request
from ap4r.message.target import Target
from ap4r.outcome.outcome import DeliveryRules
from ap4r.settings.load import load_settings
from ap4r.settings.settings import Settings
from ap4r.storage.store import Lease
from tests.support.factories import NOW, message
from tests.support.signed import headers_of, secret


def build(
    url="http://10.0.0.5:8000/do?a=1",
    *,
    attempt=1,
    expires_in_seconds=None,
    caller=PLAIN,
    now=NOW,
    success="2xx",
    **described,
):
    """Build the request of a message."""
    lease = Lease(message(**described), 1, b"t", attempt, 0, 0, 0.0, expires_in_seconds)
    rules = DeliveryRules(give_up_after_seconds=1_000.0, success=success)
    return build_request(lease, url, lease.history(0.0), rules, now=now, span_id="00f067aa0ba902b7", caller=caller)


def header(request, name):
    """Return the one value of a header."""
    [value] = headers_of(request)[name]
    return value


def test_what_the_message_says_is_sent():
    """Method, URL, body and headers, several of one name included."""
    request = build(method="PUT", body=b"a=1", headers=(("X-A", "1"), ("x-a", "2"), ("Content-Type", "text/x")))
    assert (request.method, request.url, request.body) == ("PUT", "http://10.0.0.5:8000/do?a=1", b"a=1")
    assert headers_of(request)["x-a"] == ["1", "2"]
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


def test_the_priority_of_a_message_is_sent():
    """As `async_to` wrote it, and signed like the other headers of ours."""
    one, two = (describe_message("/x", priority=number, limits=Settings()) for number in (-3, 4))
    first, second = (
        build(id=one.id, headers=described.headers, caller=CallerIdentity(secrets=(secret(1),)))
        for described in (one, two)
    )
    assert header(first, "ap4r-priority") == "-3"
    assert header(second, "ap4r-priority") == "4"
    assert header(first, "ap4r-signature") != header(second, "ap4r-signature")
    assert "ap4r-priority" not in headers_of(build())
    other = build(headers=(("Ap4r_Priority", "1"), ("Ap4r-Priority-2", "1")))
    assert not [name for name in headers_of(other) if "priority" in name]


@pytest.mark.parametrize(
    ("rule", "protocol", "told"),
    [("2xx", "http", []), ("2xx", "xmlrpc", []), ("ap4r", "http", ["ap4r"]), ("ap4r", "xmlrpc", ["2xx"])],
)
def test_an_unusual_rule_of_success_is_sent(rule, protocol, told):
    """The action has to know which of its answers count as success; the answers of a protocol speak for themselves."""
    assert headers_of(build(success=rule, protocol=protocol)).get("ap4r-success", []) == told
    if told:
        caller = CallerIdentity(secrets=(secret(1),))
        forged = build(success=rule, protocol=protocol, caller=caller, headers=(("Ap4r-Success", "2xx"),))
        assert headers_of(forged)["ap4r-success"] == told


def test_ap4r_expires_is_the_last_instant_of_repeats():
    """The message's own expiry when that is sooner; a whole number, never too early."""
    assert header(build(expires_in_seconds=10.2), "ap4r-expires") == str(int(NOW) + 11)


@pytest.mark.parametrize("name", ["User-Agent", "Idempotency-Key", "traceparent", "Host"])
def test_the_messages_own_word_wins(name):
    """Who says it himself means it."""
    assert header(build(headers=((name, "mine"),)), name.lower()) == "mine"


@pytest.mark.parametrize("name", ["Ap4r-Message-Id", "AP4R-QUEUE", "ap4r-attempt", "Ap4r-Expires"])
def test_only_the_dispatcher_sets_its_headers(name):
    """A message cannot claim to be another one."""
    assert header(build(headers=((name, "forged"),)), name.lower()) != "forged"


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Connection", "TE", "Upgrade", "Keep-Alive"])
def test_framing_is_the_transports(name):
    """A message cannot blur where its request ends."""
    assert name.lower() not in headers_of(build(headers=((name, "chunked"),)))


@pytest.mark.parametrize(
    "headers", [(("Host", "a"), ("host", "b")), (("X-A: b\r\nX-C", "d"),), (("", "d"),), (("X Y", "d"),)]
)
def test_what_cannot_be_sent_is_refused(headers):
    """Two hosts (RFC 9112, 3.2), and a name that is no token (RFC 9110, 5.1), never reach a connection."""
    with pytest.raises(ValueError, match=r"Host|name of a header"):
        build(headers=headers)


def test_long_headers_are_sent_like_short_ones():
    """However long they are, each message's own are sent with it."""
    for value in ("a" * 10_000, "b" * 10_000, "c"):
        assert header(build(headers=(("X-A", value),)), "x-a") == value


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


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Signature", "ap4r-signature", "AP4R_ATTEMPT", "webhook_id"])
def test_only_the_dispatcher_signs(name):
    """A message cannot bring a signature, nor what a gateway would take for one of our headers."""
    assert name.lower() not in headers_of(build(headers=((name, "forged"),)))


def test_without_a_secret_nothing_is_signed():
    """No empty or worthless signature is sent."""
    assert not [name for name in headers_of(build()) if name.startswith("webhook-") or name == "ap4r-signature"]


def test_each_attempt_is_signed_at_its_own_time():
    """A repeat a day later is as fresh as the first call; the id stays."""
    one = message()
    first, second = (
        build(id=one.id, now=NOW + late, caller=CallerIdentity(secrets=(secret(1),))) for late in (0, 86_400)
    )
    assert header(first, "webhook-id") == header(second, "webhook-id") == one.id
    assert int(header(second, "webhook-timestamp")) == int(header(first, "webhook-timestamp")) + 86_400
    assert header(first, "webhook-signature") != header(second, "webhook-signature")


def test_all_secrets_sign():
    """While rotating, both signatures carry one of each secret."""
    request = build(caller=CallerIdentity(secrets=(secret(1), secret(2))))
    for name in ("webhook-signature", "ap4r-signature"):
        assert len(header(request, name).split(" ")) == 2


@pytest.mark.parametrize(
    ("host", "scheme", "said"),
    [
        ("", "", {"host": "10.0.0.5:8000"}),
        (
            "shop.example.com",
            "https",
            {
                "host": "shop.example.com",
                "x-forwarded-host": "shop.example.com",
                "x-forwarded-proto": "https",
                "x-forwarded-port": "443",
            },
        ),
        (
            "shop.example.com:8443",
            "https",
            {
                "host": "shop.example.com:8443",
                "x-forwarded-host": "shop.example.com:8443",
                "x-forwarded-proto": "https",
                "x-forwarded-port": "8443",
            },
        ),
        ("shop.example.com", "", {"host": "shop.example.com", "x-forwarded-host": "shop.example.com"}),
        ("", "https", {"host": "10.0.0.5:8000", "x-forwarded-proto": "https"}),
    ],
)
def test_an_upstream_is_called_by_its_own_name(host, scheme, said):
    """Host and X-Forwarded-* say what people call it by; the connection goes where it went."""
    request = build(caller=CallerIdentity(host, scheme), headers=(("X-Forwarded-Proto", "gopher"),) if scheme else ())
    names = ("host", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port")
    assert {name: header(request, name) for name in names if name in headers_of(request)} == said
    assert request.url == "http://10.0.0.5:8000/do?a=1"


def test_a_secret_signs_for_its_own_host_only():
    """`app`'s secret signs what goes to `app`; another host gets a signature only by its own; others get none."""
    settings = load_settings(
        None, {}, app_urls=["http://10.0.0.5:8000"], secrets=[secret(1)],
        hosts={"api.example.com": {"secrets": [secret(2)]}},
        upstreams={"app": {"host": "shop.example.com", "scheme": "https"}},
    )  # fmt: skip
    callers = CallerIdentities(settings)
    assert callers.of(Target("/x", "app")) == CallerIdentity("shop.example.com", "https", (secret(1),))
    assert callers.of(Target("https://api.example.com/x")) == CallerIdentity(secrets=(secret(2),))
    for url in ("http://10.0.0.5:8000/x", "https://shop.example.com/x", "https://evil.example/api.example.com"):
        assert callers.of(Target(url)) == PLAIN
    assert callers.of(Target("/x", "search")) == PLAIN

"""Signatures: those of Standard Webhooks, exchanged with the public package, and our own over the whole request."""

from __future__ import annotations

import base64
import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ap4r.signing.signing import Secret, decoded_path, is_recent, request_content, sign, verifies, webhook_content
from tests.support.signed import secret, secret_text

SEQUENCE = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

#: Computed once by the package standardwebhooks 1.1.0.
VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        SEQUENCE,
        "0193aa00-0000-7000-8000-000000000000",
        1700000000,
        "",
        "v1,9YMqLohw8ojjMEfk8e1p62QZl86XyC67cwuU9zSybpE=",
    ),
    (SEQUENCE, "a.b.c", 1, "größe=日本\n", "v1,L/Hm2NrHDORfed97asoQ1gCYaEwyVWvlbT4akH9dKCQ="),
]


@pytest.mark.parametrize(("key", "message_id", "timestamp", "body", "signature"), VECTORS)
def test_known_answers_of_the_public_package(key, message_id, timestamp, body, signature):
    """We sign to the letter what the package of Standard Webhooks signs."""
    content = webhook_content(message_id, str(timestamp), body.encode())
    assert sign(content, [Secret.from_text(key)]) == signature


@given(
    body=st.text(),
    message_id=st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1),
    size=st.integers(24, 64),
    rotating=st.booleans(),
)
def test_the_public_package_verifies_what_we_sign(body, message_id, size, rotating):
    """Whatever the body, the id and the secret's length, and while two secrets sign."""
    text = "whsec_" + base64.b64encode(bytes(range(size))).decode()
    secrets = [Secret.from_text(text)]
    if rotating:
        secrets.insert(0, secret(7))
    timestamp = str(int(time.time()))
    signature = sign(webhook_content(message_id, timestamp, body.encode()), secrets)
    headers = {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    Webhook(text).verify(body.encode(), headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(9)).verify(body.encode(), headers, json_parse=False)


@given(body=st.text(), message_id=st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1))
def test_we_verify_what_the_public_package_signs(body, message_id):
    """Whatever the body and the id."""
    at = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
    signature = Webhook(secret_text(1)).sign(message_id, at, body)
    content = webhook_content(message_id, str(int(at.timestamp())), body.encode())
    assert verifies(signature, content, [secret(1)])
    assert verifies(signature, content, [secret(2), secret(1)])
    assert not verifies(signature, content, [secret(2)])
    assert not verifies(signature, content + b" ", [secret(1)])


def test_every_secret_signs_and_any_verifies():
    """While rotating, a receiver with either secret is content, and one with neither is not."""
    signature = sign(b"content", [secret(1), secret(2)])
    assert len(signature.split(" ")) == 2
    for known in ([secret(1)], [secret(2)], [secret(3), secret(2)]):
        assert verifies(signature, b"content", known)
    assert not verifies(signature, b"content", [secret(3)])
    assert not verifies(signature, b"content", [])


@pytest.mark.parametrize(
    "change",
    [
        lambda right: "",
        lambda right: "v1,",
        lambda right: "v1",
        lambda right: right.removeprefix("v1,"),
        lambda right: "v2," + right.removeprefix("v1,"),
        lambda right: "v1a," + right.removeprefix("v1,"),
        lambda right: right.upper(),
        lambda right: right[:-1],
        lambda right: right + "A",
        lambda right: right.replace("v1,", "v1, "),
        lambda right: "v1,größe",
        lambda right: "v1,\udcff",
        lambda right: " ".join(["v1,AAAA"] * 10_000) + " " + right,
    ],
)
def test_what_is_no_right_signature_is_refused(change):
    """Empty, cut, of another version, unreadable, or hidden behind ten thousand wrong ones: refused, never raised."""
    assert not verifies(change(sign(b"content", [secret(1)])), b"content", [secret(1)])


@pytest.mark.parametrize("right_at", ["v1,AAAA {}", "{} v1,AAAA", "v1a,x {} v9,y", "  {}  ", "nonsense {}"])
def test_a_right_signature_among_others_is_found(right_at):
    """Signatures of other versions and other secrets stand beside it while a sender rotates."""
    right = sign(b"content", [secret(1)])
    assert verifies(right_at.format(right), b"content", [secret(1)])


@pytest.mark.parametrize(
    ("timestamp", "recent"),
    [
        ("1000", True),
        ("700", True),
        ("1300", True),
        ("699", False),
        ("1301", False),
        ("", False),
        ("abc", False),
        ("-1000", False),
        ("+1000", False),
        ("1e3", False),
        ("1000.5", False),
        (" 1000", False),
        ("1000\n", False),
        ("nan", False),
        ("٣", False),
        ("1" * 5_000, False),
    ],
)
def test_the_time_may_be_five_minutes_off(timestamp, recent):
    """Five minutes either way; what is not a whole number of seconds is no time."""
    assert is_recent(timestamp, 1000.0) is recent


FACTS = {
    "message_id": "id-1",
    "timestamp": "1700000000",
    "method": "POST",
    "path": b"/async/work",
    "query": "a=1",
    "content_type": "application/json",
    "headers": [("Ap4r-Queue", "queue.a"), ("Ap4r-Attempt", "1")],
    "body": b"{}",
}


def test_the_signed_lines_are_as_documented():
    """To the letter what docs/signing.md says, so that any language can build it."""
    assert request_content(**FACTS) == (
        b"ap4r-v1\nid-1\n1700000000\nPOST\n/async/work?a=1\napplication/json\n"
        b"ap4r-attempt:1\nap4r-queue:queue.a\n"
        b"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("message_id", "id-2"),
        ("timestamp", "1700000001"),
        ("method", "PUT"),
        ("path", b"/async/other"),
        ("path", b"/async/work?a=1"),
        ("query", "a=2"),
        ("query", ""),
        ("content_type", "text/plain"),
        ("content_type", ""),
        ("headers", [("Ap4r-Queue", "queue.b"), ("Ap4r-Attempt", "1")]),
        ("headers", [("Ap4r-Queue", "queue.a"), ("Ap4r-Attempt", "2")]),
        ("headers", [("Ap4r-Queue", "queue.a")]),
        ("headers", [*FACTS["headers"], ("Ap4r-Expires", "1")]),
        ("headers", [*FACTS["headers"], ("AP4R_NEW", "1")]),
        ("body", b"{ }"),
    ],
)
def test_everything_that_a_receiver_acts_on_is_covered(name, other):
    """Another value of any of them needs another signature."""
    assert request_content(**{**FACTS, name: other}) != request_content(**FACTS)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("headers", [("AP4R_ATTEMPT", " 1 "), ("ap4r-queue", "queue.a")]),
        ("headers", [*FACTS["headers"], ("Ap4r-Signature", "v1,x"), ("X-Forwarded-For", "::1"), ("Webhook-Id", "x")]),
    ],
)
def test_what_gateways_change_is_not_covered(name, same):
    """Order and spelling of header names, and headers that proxies add."""
    assert request_content(**{**FACTS, name: same}) == request_content(**FACTS)


def test_no_content_type_counts_as_plain_text():
    """Some gateways (RFC 3875; wsgiref) tell an application text/plain where nothing was sent."""
    without, plain = ({**FACTS, "content_type": value} for value in ("", "text/plain"))
    assert request_content(**without) == request_content(**plain)


@given(st.binary())
def test_a_path_cannot_forge_a_line(path):
    """However a path is spelled, the content has the same number of lines."""
    content = request_content(**{**FACTS, "path": path})
    assert content.count(b"\n") == request_content(**FACTS).count(b"\n")


@pytest.mark.parametrize("path", ["/a%20b", "/a b", "/%61%20b", "/a%20%62"])
def test_a_path_is_what_it_decodes_to(path):
    """Sender and receiver agree, whichever characters were escaped on the way."""
    content = request_content(**{**FACTS, "path": decoded_path(path)})
    assert b"/a%20b?a=1" in content


def test_the_two_signatures_never_sign_the_same():
    """A signature of one kind cannot stand for the other: their contents begin differently."""
    assert request_content(**FACTS).startswith(b"ap4r-v1\n")
    assert not webhook_content("id", "1", b"").startswith(b"ap4r-v1\n")

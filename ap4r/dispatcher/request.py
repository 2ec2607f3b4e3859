"""The request that delivers a message: a pure function of the message, its lease and the time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlsplit

from ap4r import __version__
from ap4r.dispatcher.bearing import PLAIN, Bearing
from ap4r.message import Message
from ap4r.outbox.describe import PRIORITY
from ap4r.outcome import DeliveryRules, History, last_repeat_seconds
from ap4r.signing import (
    AP4R_SIGNATURE,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    Secret,
    decoded_path,
    request_content,
    sign,
    webhook_content,
)
from ap4r.storage.store import Lease
from ap4r.upstreams import DEFAULT_PORTS

USER_AGENT = f"ap4r/{__version__}".encode()
# Printable ASCII stays as it is, but for "%" itself, so that decoding gives the name back.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
#: What the transport says itself; a message that could say it too would blur where its request ends (RFC 9112, 6).
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade", b"te"})
#: What only the dispatcher says. Gateways turn - into _ and back, so both spellings of a name arrive as one.
_OURS = (b"ap4r-", b"webhook-")
#: The one of these that the message brings: `async_to` writes it, and lets nobody else.
_BROUGHT = PRIORITY.lower().encode()


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: header names are in lower case, each with its values."""

    method: str
    url: str
    headers: dict[bytes, list[bytes]]
    body: bytes


def build_request(
    lease: Lease,
    url: str,
    history: History,
    rules: DeliveryRules,
    *,
    now: float,
    span_id: str,
    bearing: Bearing = PLAIN,
) -> Request:
    """Make the request of one attempt.

    :param url: the whole URL, the upstream's server chosen.
    :param history: the lease's, as of now.
    :param now: Unix seconds of this host, for Ap4r-Expires and the signatures.
    :param span_id: 16 hex digits, new for each attempt (W3C Trace Context).
    """
    message = lease.message
    headers: dict[bytes, list[bytes]] = {}
    for name, value in message.headers:
        lower = name.lower().encode()
        is_ours = lower.replace(b"_", b"-").startswith(_OURS) and lower != _BROUGHT
        if lower not in _FRAMING and not is_ours:
            headers.setdefault(lower, []).append(value.encode())
    identity = message.id.encode()
    headers[b"ap4r-message-id"] = [identity]
    headers[b"ap4r-queue"] = [_header_text(message.queue)]
    headers[b"ap4r-attempt"] = [b"%d" % lease.attempt]
    headers[b"ap4r-expires"] = [b"%d" % math.ceil(now + last_repeat_seconds(history, rules))]
    if bearing.host or bearing.scheme:
        headers.update(_called_by(bearing.host, bearing.scheme))
    if bearing.authorization:
        headers.setdefault(b"authorization", [bearing.authorization])
    headers.setdefault(b"host", [host_of(url)])
    headers.setdefault(b"user-agent", [USER_AGENT])
    # draft-ietf-httpapi-idempotency-key-header: a structured-field string, so quoted.
    headers.setdefault(b"idempotency-key", [b'"' + identity + b'"'])
    # All attempts of a message belong to one trace: without a trace of its caller, the one named by its id.
    trace_id = message.trace_id or message.id.replace("-", "")
    headers.setdefault(b"traceparent", [f"00-{trace_id}-{span_id}-01".encode()])
    if bearing.secrets:
        _sign(headers, message, url, bearing.secrets, str(int(now)))
    return Request(message.method, url, headers, message.body)


def _sign(
    headers: dict[bytes, list[bytes]], message: Message, url: str, secrets: tuple[Secret, ...], timestamp: str
) -> None:
    path, _, query = _resource_of(url).partition("?")
    content_type = headers.get(b"content-type", [b""])[0].decode("latin-1")
    ours = [(name.decode(), values[0].decode()) for name, values in headers.items() if name.startswith(b"ap4r-")]
    whole = request_content(
        message.id, timestamp, message.method, decoded_path(path), query, content_type, ours, message.body
    )
    headers[WEBHOOK_ID.encode()] = [message.id.encode()]
    headers[WEBHOOK_TIMESTAMP.encode()] = [timestamp.encode()]
    headers[WEBHOOK_SIGNATURE.encode()] = [sign(webhook_content(message.id, timestamp, message.body), secrets).encode()]
    headers[AP4R_SIGNATURE.encode()] = [sign(whole, secrets).encode()]


def shown(bearing: Bearing) -> dict[bytes, list[bytes]]:
    """Give the headers of a request that no message asks for: by which name the server is called, and by whom."""
    called = _called_by(bearing.host, bearing.scheme)
    return {**called, b"authorization": [bearing.authorization]} if bearing.authorization else dict(called)


@lru_cache(maxsize=64)
def _called_by(host: str, scheme: str) -> dict[bytes, list[bytes]]:
    """Give the headers by which an application behind a proxy knows its own name (X-Forwarded-* and Host)."""
    called: dict[bytes, list[bytes]] = {}
    port = None
    if host:
        called[b"host"] = called[b"x-forwarded-host"] = [host.encode()]
        port = urlsplit("//" + host).port
    if scheme:
        called[b"x-forwarded-proto"] = [scheme.encode()]
    port = port or DEFAULT_PORTS.get(scheme)
    if host and port:
        called[b"x-forwarded-port"] = [b"%d" % port]
    return called


def _resource_of(url: str) -> str:
    rest = url.partition("://")[2]
    return rest[rest.index("/") :] if "/" in rest else "/"


@lru_cache(maxsize=4_096)
def host_of(url: str) -> bytes:
    """Give the Host header that belongs to a URL."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    default = ":443" if scheme == "https" else ":80"
    return host.removesuffix(default).encode()


@lru_cache(maxsize=4_096)
def _header_text(name: str) -> bytes:
    return quote(name, safe=_PLAIN).encode()

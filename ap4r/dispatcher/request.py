"""The request that delivers a message: a pure function of the message, its lease and the time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from ap4r import __version__
from ap4r.outcome import DeliveryRules, History, last_repeat_seconds
from ap4r.storage.store import Lease

_USER_AGENT = f"ap4r/{__version__}".encode()
# Printable ASCII stays as it is, but for "%" itself, so that decoding gives the name back.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
#: What the transport says itself; a message that could say it too would blur where its request ends (RFC 9112, 6).
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade", b"te"})
#: What only the dispatcher says.
_OURS = frozenset({b"ap4r-message-id", b"ap4r-queue", b"ap4r-attempt", b"ap4r-expires"})


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: header names are in lower case, each with its values."""

    method: str
    url: str
    headers: dict[bytes, list[bytes]]
    body: bytes


def build_request(
    lease: Lease, url: str, history: History, rules: DeliveryRules, *, now: float, span_id: str
) -> Request:
    """Make the request of one attempt.

    :param url: the whole URL, the upstream's server chosen.
    :param history: the lease's, as of now.
    :param now: Unix seconds of this host, for Ap4r-Expires.
    :param span_id: 16 hex digits, new for each attempt (W3C Trace Context).
    """
    message = lease.message
    headers: dict[bytes, list[bytes]] = {}
    for name, value in message.headers:
        lower = name.lower().encode()
        if lower not in _FRAMING and lower not in _OURS:
            headers.setdefault(lower, []).append(value.encode())
    identity = message.id.encode()
    headers[b"ap4r-message-id"] = [identity]
    headers[b"ap4r-queue"] = [_header_text(message.queue)]
    headers[b"ap4r-attempt"] = [b"%d" % lease.attempt]
    headers[b"ap4r-expires"] = [b"%d" % math.ceil(now + last_repeat_seconds(history, rules))]
    headers.setdefault(b"host", [_host_of(url)])
    headers.setdefault(b"user-agent", [_USER_AGENT])
    # draft-ietf-httpapi-idempotency-key-header: a structured-field string, so quoted.
    headers.setdefault(b"idempotency-key", [b'"' + identity + b'"'])
    # All attempts of a message belong to one trace: without a trace of its caller, the one named by its id.
    trace_id = message.trace_id or message.id.replace("-", "")
    headers.setdefault(b"traceparent", [f"00-{trace_id}-{span_id}-01".encode()])
    return Request(message.method, url, headers, message.body)


@lru_cache(maxsize=4_096)
def _host_of(url: str) -> bytes:
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    default = ":443" if scheme == "https" else ":80"
    return host.removesuffix(default).encode()


@lru_cache(maxsize=4_096)
def _header_text(name: str) -> bytes:
    return quote(name, safe=_PLAIN).encode()

"""The request that delivers a message: a pure function of the message, its lease and the time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ap4r.describe.options import PRIORITY
from ap4r.dispatcher.delivery.caller_identity import PLAIN, CallerIdentity
from ap4r.dispatcher.http_client.headers import header_lines
from ap4r.message.depth import DEPTH
from ap4r.message.message import HTTP, Message
from ap4r.outcome.outcome import DeliveryRules, History
from ap4r.outcome.retry_policy import last_repeat_seconds
from ap4r.settings.upstreams import DEFAULT_PORTS
from ap4r.signing.signing import (
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
from ap4r.version import __version__

USER_AGENT = f"ap4r/{__version__}".encode()
# Printable ASCII is unchanged, except for "%" itself, so that decoding returns the name.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
#: Headers of the client itself; a message with one could blur where its request ends (RFC 9112, 6).
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade", b"te"})
#: Headers of the dispatcher only. Gateways turn - into _ and back, so both spellings of a name arrive as the same.
_OURS = (b"ap4r-", b"webhook-")
#: Those of these that the message has: `async_to` writes them, and refuses them from callers.
_DEPTH = DEPTH.lower().encode()
_BROUGHT = frozenset({PRIORITY.lower().encode(), _DEPTH})
#: The success rule that is not sent.
DEFAULT_SUCCESS = "2xx"

#: Headers up to this size are mostly the same for many messages: their text is cached.
_SHORT_CHARACTERS = 256


class Request(NamedTuple):
    """What is sent. `lines` are its headers except for those that frame the body, each with its line end."""

    method: str
    url: str
    lines: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class _Same:
    """What requests have in common whose messages have the same headers, queue and server."""

    lines: bytes
    content_type: str
    ours: tuple[tuple[str, str], ...]
    says_key: bool
    says_trace: bool


def build_request(
    lease: Lease,
    url: str,
    history: History,
    rules: DeliveryRules,
    *,
    now: float,
    span_id: str,
    caller: CallerIdentity = PLAIN,
) -> Request:
    """Build the request of one attempt.

    :param url: the whole URL, the upstream's server chosen.
    :param history: the lease's, as of now.
    :param now: Unix seconds of this host, for Ap4r-Expires and the signatures.
    :param span_id: 16 hex digits, new for each attempt (W3C Trace Context).
    :raises ValueError: a header of the message cannot be sent; the text names it.
    """
    message = lease.message
    same = (_same if _are_short(message.headers) else _look_up)(
        message.headers, message.queue, host_of(url), caller.host, caller.scheme, caller.authorization
    )
    identity, expires = message.id, math.ceil(now + last_repeat_seconds(history, rules))
    own = f"Ap4r-Message-Id: {identity}\r\nAp4r-Attempt: {lease.attempt}\r\nAp4r-Expires: {expires}\r\n"
    success = rules.success if message.protocol == HTTP else DEFAULT_SUCCESS
    says_rule = rules.success != DEFAULT_SUCCESS
    if says_rule:
        # The text of an answer that counts as a failure must not be stored by the application, so it has to know our
        # rule.
        own += f"Ap4r-Success: {success}\r\n"
    if not same.says_key:
        # draft-ietf-httpapi-idempotency-key-header: a structured-field string, so quoted.
        own += f'Idempotency-Key: "{identity}"\r\n'
    if not same.says_trace:
        # All attempts of a message belong to one trace: without a trace of its caller, the one named by its id.
        own += f"Traceparent: 00-{message.trace_id or identity.replace('-', '')}-{span_id}-01\r\n"
    if caller.secrets:
        signed = [
            *same.ours,
            ("ap4r-message-id", identity),
            ("ap4r-attempt", str(lease.attempt)),
            ("ap4r-expires", str(expires)),
            *([("ap4r-success", success)] if says_rule else ()),
        ]
        own += _signatures(message, url, same.content_type, signed, caller.secrets, str(int(now)))
    return Request(message.method, url, same.lines + own.encode(), message.body)


def _look_up(
    headers: tuple[tuple[str, str], ...], queue: str, server: bytes, host: str, scheme: str, authorization: bytes
) -> _Same:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lower = name.lower().encode()
        is_ours = lower.replace(b"_", b"-").startswith(_OURS) and lower not in _BROUGHT
        if lower not in _FRAMING and not is_ours:
            values.setdefault(lower, []).append(value.encode())
    values.setdefault(_DEPTH, [b"0"])
    values[b"ap4r-queue"] = [quote(queue, safe=_PLAIN).encode()]
    ours = [(name.decode(), several[0].decode()) for name, several in values.items() if name.startswith(b"ap4r-")]
    if host or scheme:
        values.update(_called_by(host, scheme))
    if authorization:
        values.setdefault(b"authorization", [authorization])
    values.setdefault(b"host", [server])
    values.setdefault(b"user-agent", [USER_AGENT])
    content_type = values.get(b"content-type", [b""])[0].decode("latin-1")
    says_key, says_trace = b"idempotency-key" in values, b"traceparent" in values
    return _Same(header_lines(values), content_type, tuple(ours), says_key, says_trace)


_same = lru_cache(maxsize=1_024)(_look_up)


def _are_short(headers: tuple[tuple[str, str], ...]) -> bool:
    return sum(len(name) + len(value) for name, value in headers) <= _SHORT_CHARACTERS


def _signatures(
    message: Message,
    url: str,
    content_type: str,
    signed: list[tuple[str, str]],
    secrets: tuple[Secret, ...],
    timestamp: str,
) -> str:
    path, _, query = _resource_of(url).partition("?")
    whole = request_content(
        message.id, timestamp, message.method, decoded_path(path), query, content_type, signed, message.body
    )
    return (
        f"{WEBHOOK_ID}: {message.id}\r\n{WEBHOOK_TIMESTAMP}: {timestamp}\r\n"
        f"{WEBHOOK_SIGNATURE}: {sign(webhook_content(message.id, timestamp, message.body), secrets)}\r\n"
        f"{AP4R_SIGNATURE}: {sign(whole, secrets)}\r\n"
    )


def shown(caller: CallerIdentity) -> dict[bytes, list[bytes]]:
    """Return the headers that are not a message's: the name by which the server is called, and the credentials."""
    called = _called_by(caller.host, caller.scheme)
    return {**called, b"authorization": [caller.authorization]} if caller.authorization else dict(called)


@lru_cache(maxsize=64)
def _called_by(host: str, scheme: str) -> dict[bytes, list[bytes]]:
    """Return the headers by which an application behind a proxy knows its own name (X-Forwarded-* and Host)."""
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
    """Return the Host header of a URL."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    default = ":443" if scheme == "https" else ":80"
    return host.removesuffix(default).encode()

"""Secrets for tests, and requests as the dispatcher signs them, on the environ's side of a WSGI server."""

from __future__ import annotations

import base64
import io
from typing import Any
from urllib.parse import unquote_to_bytes

from ap4r.dispatcher.delivery.caller_identity import CallerIdentity
from ap4r.dispatcher.delivery.request import Request, build_request
from ap4r.outcome.outcome import DeliveryRules
from ap4r.signing.signing import Secret
from ap4r.storage.store import Lease
from tests.support.factories import NOW, message
from tests.support.wire import make_environ


def secret_text(number: int) -> str:
    """Write the secret of this number."""
    return "whsec_" + base64.b64encode(bytes([number]) * 32).decode()


def secret(number: int) -> Secret:
    """Return the secret of this number."""
    return Secret.from_text(secret_text(number))


def signed_request(
    *secrets: Secret, url: str = "http://10.0.0.5:8000/async/work?a=1", now: float = NOW, **described: Any
) -> Request:
    """Build the request of a message's second attempt, signed by these."""
    lease = Lease(message(**{"body": b"id=12", **described}), 1, b"t", 2, 0, 0, 0.0, None)
    return build_request(
        lease, url, lease.history(0.0), DeliveryRules(), now=now, span_id="00f067aa0ba902b7",
        caller=CallerIdentity(secrets=secrets),
    )  # fmt: skip


def headers_of(request: Request) -> dict[str, list[str]]:
    """Return the headers of a request by their names in lower case, as a server reads them."""
    headers: dict[str, list[str]] = {}
    for line in request.lines.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    return headers


def environ_of(request: Request, **more: Any) -> dict[str, Any]:
    """Return the environ that a server makes of a request."""
    resource = "/" + request.url.split("/", 3)[3]
    path, _, query = resource.partition("?")
    environ = make_environ(request.method, unquote_to_bytes(path).decode("latin-1"), query)
    for name, values in headers_of(request).items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = ",".join(values)
    environ["wsgi.input"] = io.BytesIO(request.body)
    environ["CONTENT_LENGTH"] = str(len(request.body))
    return {**environ, **more}

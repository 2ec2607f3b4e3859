"""An application, or a part of one, that accepts only verified deliveries (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, overload

from ap4r.errors import DeliveryRequired
from ap4r.outbox.handle import Handle
from ap4r.settings.upstreams import OWN_SENDER
from ap4r.signing.verified_delivery import ENVIRON_KEY

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_NO_HANDLE = "there is no AP4RMiddleware around this application, so nothing can be verified"


def refusal_of(environ: Mapping[str, Any], sender: str) -> str:
    """Return the text of a 403 for a request that is not a delivery of that sender; empty for one that is."""
    handle = environ.get(ENVIRON_KEY)
    try:
        if isinstance(handle, Handle):
            handle.require_delivery(sender)
            return ""
        raise DeliveryRequired(_NO_HANDLE)
    except DeliveryRequired as error:
        return f"ap4r: {error}.\n"


@overload
def require_delivery(application: Application) -> Application: ...


@overload
def require_delivery(application: None = None, *, sender: str = OWN_SENDER) -> Callable[[Application], Application]: ...


def require_delivery(
    application: Application | None = None, *, sender: str = OWN_SENDER
) -> Application | Callable[[Application], Application]:
    """Wrap a WSGI application: every request that is not a verified delivery is answered 403 with the reason.

    Use it as `@require_delivery` or `@require_delivery(sender="billing")`, inside of AP4RMiddleware.

    :param sender: who must have signed it: our own dispatcher, or the name of a table [senders.NAME].
    """

    def decorate(application: Application) -> Application:
        @wraps(application)
        def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            refusal = refusal_of(environ, sender).encode()
            if not refusal:
                return application(environ, start_response)
            headers = [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(refusal))),
                ("Cache-Control", "no-store"),
            ]
            start_response("403 Forbidden", headers)
            return [] if environ.get("REQUEST_METHOD") == "HEAD" else [refusal]

        return guarded

    return decorate if application is None else decorate(application)

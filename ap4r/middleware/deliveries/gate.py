"""Separates verified deliveries from other requests, and keeps other requests out of `internal` paths.

It reads the body only of a request that claims to be a delivery.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ap4r.errors import ConfigError
from ap4r.middleware.deliveries.internal_paths import InternalPaths, PathReading
from ap4r.middleware.deliveries.raw_body import BodyRefused, take_body
from ap4r.middleware.deliveries.verification import (
    SIGNATURE_KEYS,
    full_path,
    mount_problem,
    parties_of,
    path_parts,
    reason_to_refuse,
    verify,
)
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import OWN_SENDER
from ap4r.signing.verified_delivery import VerifiedDelivery

BETWEEN_LINES_SECONDS = 10.0  #: between two lines of log about requests that were not verified
_WEBHOOK, _WHOLE = SIGNATURE_KEYS
_PROBE = "HTTP_AP4R_PROBE"
_FORBIDDEN = "403 Forbidden"
_UNREADABLE = "400 Bad Request"
#: The header that `ap4r doctor` looks for; only an application that has the secret can send it.
_VERIFIED = (("Ap4r-Verified", "yes"),)
_INTERNAL = "ap4r: this path accepts only signed deliveries.\n"
#: The environ's key for the reason why a request that claims to be a delivery is not one.
WHY_KEY = "ap4r.no_delivery"

_PUBLIC = PathReading(False, "")

_log = logging.getLogger("ap4r.middleware")


@dataclass(frozen=True, slots=True)
class GateResponse:
    """A response that the gate sends in place of the application's."""

    status: str
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Send it (PEP 3333)."""
        body = self.text.encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *self.headers,
        ]
        start_response(self.status, headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


class DeliveryGate:
    """Decides which requests are verified deliveries, and which requests are refused.

    :param internal: paths that accept only verified deliveries of our own dispatcher. When there are any, every path
        that can be read in more than one way is refused too.
    :param now: the current Unix time in seconds; tests pass a clock of their own.
    :raises ConfigError: there are internal paths, and no secret is configured.
    """

    def __init__(self, settings: Settings, internal: Iterable[str], now: Callable[[], float] = time.time) -> None:
        self._internal = InternalPaths(internal)
        self._has_internal = bool(self._internal)
        self._own = settings.secrets
        self._parties = parties_of(self._own, {sender.name: sender.secrets for sender in settings.senders})
        self._limit = settings.max_body_bytes
        self._mounts = frozenset(mount.strip("/") for mount in settings.script_names)
        self._now = now
        self._logged_at = float("-inf")
        self._unlogged = 0
        if self._has_internal and not self._own:
            raise ConfigError(
                "internal",
                "it needs a secret that dispatcher and application share, and without one every request to these paths "
                "would be refused. Run `ap4r init`, which writes a secret into ap4r.toml",
            )
        #: Whether any request has to be inspected.
        self.is_needed = bool(self._parties)

    def concerns(self, environ: dict[str, Any]) -> bool:
        """Return whether a request claims to be a delivery, or has a path that is internal or ambiguous."""
        if _WEBHOOK in environ or _WHOLE in environ:
            return True
        return self._has_internal and self._internal.read(*path_parts(environ)) != _PUBLIC

    def admit(self, environ: dict[str, Any]) -> VerifiedDelivery | GateResponse | None:
        """Verify a request for which `concerns` is true.

        Return its delivery, or the response to send instead, or None to call the application without a delivery (then
        the environ holds the reason). The body of a request that may be a delivery is replaced by an equal one.
        """
        is_internal, problem = self._internal.read(*path_parts(environ)) if self._has_internal else _PUBLIC
        delivery, why = None, reason_to_refuse(environ, self._now()) or mount_problem(environ, self._mounts)
        if not why:
            try:
                delivery = verify(environ, take_body(environ, self._limit), self._parties)
            except BodyRefused as error:
                self._log_refusal(environ, str(error))
                return GateResponse(error.status, f"ap4r: {error}.\n")
            if delivery is None:
                why = "no configured secret matches its signature"
            elif _PROBE in environ and delivery.sender == OWN_SENDER and delivery.whole_request_signed:
                return GateResponse("200 OK", "ap4r: verified.\n", _VERIFIED)
        is_own = delivery is not None and delivery.sender == OWN_SENDER and delivery.whole_request_signed
        if problem and not is_own:
            self._log_refusal(environ, why or problem)
            return GateResponse(_UNREADABLE, f"ap4r: {problem}, so the action that it is for is ambiguous.\n")
        if not is_internal:
            if why:
                self._log_refusal(environ, why)
                environ[WHY_KEY] = why
            return delivery
        if delivery is not None and delivery.sender != OWN_SENDER:
            why = f"{delivery.sender} signed it, and internal paths accept only our own dispatcher"
        elif delivery is not None and not delivery.whole_request_signed:
            why = "it has no Ap4r-Signature, which internal paths require"
        if not why:
            return delivery
        self._log_refusal(environ, why)
        return GateResponse(_FORBIDDEN, _INTERNAL)

    def _log_refusal(self, environ: dict[str, Any], why: str) -> None:
        now = time.monotonic()
        if now - self._logged_at < BETWEEN_LINES_SECONDS:
            self._unlogged += 1
            return
        unlogged, self._unlogged, self._logged_at = self._unlogged, 0, now
        more = f" ({unlogged} more since the last line of this kind)" if unlogged else ""
        _log.warning(
            "%s %r is not a verified delivery: %s%s", environ.get("REQUEST_METHOD", ""), full_path(environ), why, more
        )

"""The gate of an application: tells verified deliveries from other requests, and keeps those from `internal` paths.

It reads the body of a request that claims to be a delivery, and of no other.
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

TOLD_SECONDS = 10.0  #: between two lines of log about requests that were not verified
_WEBHOOK, _WHOLE = SIGNATURE_KEYS
_PROBE = "HTTP_AP4R_PROBE"
_FORBIDDEN = "403 Forbidden"
_UNREADABLE = "400 Bad Request"
#: What `ap4r doctor` wants to hear, and nobody without a secret can.
_VERIFIED = (("Ap4r-Verified", "yes"),)
_INTERNAL = "ap4r: this path takes signed deliveries only.\n"
#: Where the environ has why a request that claims to be a delivery is none.
WHY_KEY = "ap4r.no_delivery"

_PUBLIC = PathReading(False, "")

_log = logging.getLogger("ap4r.middleware")


@dataclass(frozen=True, slots=True)
class Instead:
    """What a request is answered in the application's place."""

    status: str
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Answer it (PEP 3333)."""
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
    """Who is let in as a delivery.

    :param internal: paths that take verified deliveries of our own dispatcher only. Where there are any, a path that
        can be read in more than one way is refused too, whatever it leads to.
    :param now: Unix seconds; a test's own clock.
    :raises ConfigError: there are internal paths and no secret that could open them.
    """

    def __init__(self, settings: Settings, internal: Iterable[str], now: Callable[[], float] = time.time) -> None:
        self._internal = InternalPaths(internal)
        self._has_internal = bool(self._internal)
        self._own = settings.secrets
        self._parties = parties_of(self._own, {sender.name: sender.secrets for sender in settings.senders})
        self._limit = settings.max_body_bytes
        self._mounts = frozenset(mount.strip("/") for mount in settings.script_names)
        self._now = now
        self._told_at = float("-inf")
        self._untold = 0
        if self._has_internal and not self._own:
            raise ConfigError(
                "internal", "it needs a secret that dispatcher and application share, or nobody could be let in; "
                "`ap4r init` writes one into ap4r.toml"
            )  # fmt: skip
        #: Whether there is anything to look at in any request.
        self.is_needed = bool(self._parties)

    def concerns(self, environ: dict[str, Any]) -> bool:
        """Return whether a request claims to be a delivery, or has a path that is internal or odd."""
        if _WEBHOOK in environ or _WHOLE in environ:
            return True
        return self._has_internal and self._internal.read(*path_parts(environ)) != _PUBLIC

    def admit(self, environ: dict[str, Any]) -> VerifiedDelivery | Instead | None:
        """Verify a request that `concerns` the gate. Return its delivery, or what to answer instead, or None to let it
        in as no delivery; the environ has the reason then. The body of one that may be a delivery is read and replaced.
        """
        is_internal, problem = self._internal.read(*path_parts(environ)) if self._has_internal else _PUBLIC
        delivery, why = None, reason_to_refuse(environ, self._now()) or mount_problem(environ, self._mounts)
        if not why:
            try:
                delivery = verify(environ, take_body(environ, self._limit), self._parties)
            except BodyRefused as error:
                self._tell(environ, str(error))
                return Instead(error.status, f"ap4r: {error}.\n")
            if delivery is None:
                why = "no secret that is known here has signed it as it came"
            elif _PROBE in environ and delivery.sender == OWN_SENDER and delivery.whole_request_signed:
                return Instead("200 OK", "ap4r: verified.\n", _VERIFIED)
        is_own = delivery is not None and delivery.sender == OWN_SENDER and delivery.whole_request_signed
        if problem and not is_own:
            self._tell(environ, why or problem)
            return Instead(_UNREADABLE, f"ap4r: {problem}, so nothing tells which action it is for.\n")
        if not is_internal:
            if why:
                self._tell(environ, why)
                environ[WHY_KEY] = why
            return delivery
        if delivery is not None and delivery.sender != OWN_SENDER:
            why = f"{delivery.sender} has signed it, and internal paths are for our own dispatcher"
        elif delivery is not None and not delivery.whole_request_signed:
            why = "it has no Ap4r-Signature, which internal paths demand"
        if not why:
            return delivery
        self._tell(environ, why)
        return Instead(_FORBIDDEN, _INTERNAL)

    def _tell(self, environ: dict[str, Any], why: str) -> None:
        now = time.monotonic()
        if now - self._told_at < TOLD_SECONDS:
            self._untold += 1
            return
        untold, self._untold, self._told_at = self._untold, 0, now
        more = f" ({untold} more since the last such line)" if untold else ""
        _log.warning(
            "%s %r is no verified delivery: %s%s", environ.get("REQUEST_METHOD", ""), full_path(environ), why, more
        )

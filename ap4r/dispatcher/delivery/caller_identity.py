"""How a server is called: the Host, the scheme, and the signing secrets. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from ap4r.message.target import Target
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import secrets_of
from ap4r.signing.signing import Secret


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """What a request states beside its message. Empty values leave it to the connection, and unsigned."""

    host: str = ""
    scheme: str = ""
    secrets: tuple[Secret, ...] = ()
    authorization: bytes = field(default=b"", repr=False)


PLAIN = CallerIdentity()


class CallerIdentities:
    """The caller identity for every target. A secret signs only for the upstream or host that it belongs to.

    :raises ConfigError: a secret that the settings refer to is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self._upstreams = {
            one.name: CallerIdentity(one.host, one.scheme, one.secrets, one.auth.header() if one.auth else b"")
            for one in settings.upstreams
            if one.host or one.scheme or one.secrets or one.auth
        }
        self._hosts = settings.hosts
        self._of_origin = lru_cache(maxsize=4_096)(self._look)

    def of(self, target: Target) -> CallerIdentity:
        """Return the caller identity for a call to a target."""
        if target.upstream is not None:
            # Even if an absolute URL leads to the same server: only its URL is known here.
            return self._upstreams.get(target.upstream, PLAIN)
        return self._of_origin(target.origin) if self._hosts else PLAIN

    def _look(self, origin: str) -> CallerIdentity:
        secrets = secrets_of(origin, self._hosts)
        return CallerIdentity(secrets=secrets) if secrets else PLAIN

"""How a server wants to be called: by which Host and scheme, and with whose signature. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from ap4r.message.target import Target
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import secrets_of
from ap4r.signing.signing import Secret


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """What a request says of itself beside its message. Empty is what the connection itself says, and unsigned."""

    host: str = ""
    scheme: str = ""
    secrets: tuple[Secret, ...] = ()
    authorization: bytes = field(default=b"", repr=False)


PLAIN = CallerIdentity()


class CallerIdentities:
    """The bearing of every target. A secret signs for the upstream or host that it belongs to, and no other.

    :raises ConfigError: a secret that the settings refer to is not there.
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
        """Give the bearing of a call to a target."""
        if target.upstream is not None:
            # Even where an absolute URL leads to the same server: what it is called by is all that is known of it.
            return self._upstreams.get(target.upstream, PLAIN)
        return self._of_origin(target.origin) if self._hosts else PLAIN

    def _look(self, origin: str) -> CallerIdentity:
        secrets = secrets_of(origin, self._hosts)
        return CallerIdentity(secrets=secrets) if secrets else PLAIN

"""What an upstream or a proxy wants to be shown (basic, bearer): a reference to a secret, read where it is needed.

It is never written out, not in the settings, not in a message, not in a log.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from ap4r.errors import ConfigError
from ap4r.reference import REFERENCES, ReadSecret

_KINDS = ("basic", "bearer")
_FORMS = "basic:env:NAME, basic:file:PATH, bearer:env:NAME or bearer:file:PATH"


@dataclass(frozen=True, slots=True)
class Credential:
    """A kind of authentication and where its secret is to be had. Web processes carry it along unread."""

    name: str  #: of the setting, for errors
    kind: str
    reference: str
    read: ReadSecret = field(repr=False, compare=False)

    def header(self) -> bytes:
        """Read the secret and give the value of Authorization or Proxy-Authorization (RFC 7617, RFC 6750).

        :raises ConfigError: it is not there, or is no such secret. The error names the reference only.
        """
        try:
            secret = self.read(self.reference).strip()
        except ValueError as error:
            raise ConfigError(self.name, str(error)) from None
        if not secret or any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in secret):
            raise ConfigError(self.name, f"what {self.reference} refers to is empty or has several lines")
        if self.kind == "basic":
            if ":" not in secret:
                raise ConfigError(self.name, f"what {self.reference} refers to is not of the form user:password")
            return b"Basic " + base64.b64encode(secret.encode())
        if not secret.isascii() or " " in secret:
            raise ConfigError(self.name, f"what {self.reference} refers to is no token: it has blanks or is not ASCII")
        return b"Bearer " + secret.encode()


def parse_credential(name: str, where: str, value: object, read: ReadSecret) -> Credential | None:
    """Read `basic:env:NAME` and its like; empty is None.

    :raises ConfigError: it is something else. The value is not shown: it may be the secret itself.
    """
    if value == "":
        return None
    kind, _, reference = value.partition(":") if isinstance(value, str) else ("", "", "")
    source, _, place = reference.partition(":")
    if kind not in _KINDS or source not in REFERENCES or not place or not place.isprintable():
        raise ConfigError(name, f"in {where}: give a reference to the secret, {_FORMS}")
    return Credential(name, kind, reference, read)

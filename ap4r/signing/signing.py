"""Signatures of deliveries: Standard Webhooks, and `Ap4r-Signature`, which covers the whole request. Pure.

docs/signing.md defines both for every language. Secrets are never written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

WEBHOOK_ID: Final = "webhook-id"
WEBHOOK_TIMESTAMP: Final = "webhook-timestamp"
WEBHOOK_SIGNATURE: Final = "webhook-signature"
AP4R_SIGNATURE: Final = "ap4r-signature"
#: A signed request with this header only checks whether it can be verified; the response with this header says so.
PROBE: Final = "ap4r-probe"
PROBE_ANSWER: Final = "ap4r-verified"
TOLERANCE_SECONDS = 300  #: how far a signature's time may be from the receiver's, either way
SECRET_PREFIX = "whsec_"
SECRET_LEAST_BYTES, SECRET_MOST_BYTES = 24, 64
#: Signatures of one header that are checked; a rotation of secrets needs two.
MOST_SIGNATURES = 16
_VERSION = "v1,"
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_DOMAIN = b"ap4r-v1"


class Secret:
    """A key that sender and receiver share. Neither `repr` nor `str` writes it."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Store the key itself.

        :raises ValueError: it is shorter or longer than Standard Webhooks allows.
        """
        if not SECRET_LEAST_BYTES <= len(key) <= SECRET_MOST_BYTES:
            raise ValueError(f"the key has {len(key)} bytes; it must have {SECRET_LEAST_BYTES} to {SECRET_MOST_BYTES}")
        self._key = key

    @classmethod
    def from_text(cls, text: str) -> Secret:
        """Parse `whsec_` and the key in base64, with or without the padding at its end.

        :raises ValueError: the text says what is wrong, without a character of the secret.
        """
        if not text.startswith(SECRET_PREFIX):
            raise ValueError("a secret begins with whsec_; `ap4r init` writes one")
        try:
            encoded = text.removeprefix(SECRET_PREFIX).rstrip("=")
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            # Not chained by callers: the decoder's own text may quote the secret.
            raise ValueError("the text after whsec_ is not base64") from None
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """Twelve characters that identify this secret and reveal nothing else about it."""
        return self.mac(b"ap4r-fingerprint").hex()[:12]

    def mac(self, content: bytes) -> bytes:
        """Return the HMAC-SHA256 of a content (RFC 2104)."""
        return hmac.digest(self._key, content, "sha256")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return "<a secret>"


def fingerprints(secrets: Sequence[Secret]) -> list[str]:
    """Return the fingerprints of the secrets, sorted, so that two sets can be compared."""
    return sorted(secret.fingerprint for secret in secrets)


def webhook_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the content that `webhook-signature` signs: id, time and body."""
    return f"{message_id}.{timestamp}.".encode("latin-1", "replace") + body


def request_content(
    message_id: str,
    timestamp: str,
    method: str,
    path: bytes,
    query: str,
    content_type: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
) -> bytes:
    """Return the content that `Ap4r-Signature` signs: lines with everything that a receiver acts on.

    :param path: percent-decoded, because most servers pass it to an application so.
    :param query: as it is sent, without the question mark.
    :param content_type: empty when there is none, which counts as text/plain, as CGI gateways report it.
    :param headers: any; those that begin with `Ap4r-` are signed, except for the signature itself.
    """
    ours = {name.lower().replace("_", "-"): value for name, value in headers}
    lines = [
        _DOMAIN,
        message_id.encode("latin-1", "replace"),
        timestamp.encode("latin-1", "replace"),
        method.encode("latin-1", "replace"),
        _canonical(path) + (b"?" + query.encode("latin-1", "replace") if query else b""),
        (content_type or "text/plain").encode("latin-1", "replace"),
    ]
    for name in sorted(ours):
        if name.startswith("ap4r-") and name != AP4R_SIGNATURE:
            lines.append(f"{name}:{ours[name].strip()}".encode("latin-1", "replace"))
    lines.append(hashlib.sha256(body).hexdigest().encode())
    return b"\n".join(lines)


@lru_cache(maxsize=1_024)
def decoded_path(path: str) -> bytes:
    """Return a URL's path as `request_content` needs it."""
    return unquote_to_bytes(path)


def sign(content: bytes, secrets: Sequence[Secret]) -> str:
    """Return a header's value: one signature for each secret, so that a receiver of either one can verify it."""
    return " ".join(_VERSION + base64.b64encode(secret.mac(content)).decode() for secret in secrets)


def verifies(header: str, content: bytes, secrets: Sequence[Secret]) -> bool:
    """Return whether any signature of a header is right for any of the secrets, in constant time for each."""
    given = [part.removeprefix(_VERSION).encode("latin-1", "replace") for part in _signatures(header)]
    is_right = False
    for secret in secrets:
        right = base64.b64encode(secret.mac(content))
        for signature in given:
            is_right |= hmac.compare_digest(signature, right)
    return is_right


def is_recent(timestamp: str, now: float) -> bool:
    """Return whether a signature's time is valid and at most five minutes from `now` (Unix seconds), either way."""
    return bool(_TIMESTAMP.fullmatch(timestamp)) and abs(now - int(timestamp)) <= TOLERANCE_SECONDS


@lru_cache(maxsize=1_024)
def _canonical(path: bytes) -> bytes:
    return quote(path, safe="/").encode()


def _signatures(header: str) -> list[str]:
    return [part for part in header.split(" ") if part.startswith(_VERSION)][:MOST_SIGNATURES]

"""The header Security of an envelope (WS-Security), by zeep's own plugins: UsernameToken, Timestamp and signature."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from zeep.wsse.compose import Compose
from zeep.wsse.signature import BinarySignature
from zeep.wsse.username import UsernameToken
from zeep.wsse.utils import WSU, get_security_header


def security_of(table: Mapping[str, Any]) -> Compose:
    """Return the zeep plugins that apply a table [wsse.NAME] to an envelope.

    :raises ValueError: a file cannot be read, or xmlsec is not installed, which signing needs.
    """
    parts: list[Any] = []
    if table["timestamp_seconds"]:
        parts.append(_Timestamp(table["timestamp_seconds"]))
    if table["username"]:
        parts.append(
            UsernameToken(table["username"], table["password"], use_digest=table["digest"], zulu_timestamp=True)
        )
    if table["key"]:
        # Last: it signs the Timestamp too.
        parts.append(_signature(table))
    return Compose(parts)


def _signature(table: Mapping[str, Any]) -> BinarySignature:
    try:
        xmlsec: Any = import_module("xmlsec")
    except ImportError as error:
        raise ValueError("a signature needs xmlsec: pip install 'ap4r[xmlsec]'") from error
    try:
        return BinarySignature(
            table["key"], table["certificate"], table["key_password"] or None,
            signature_method=_method(xmlsec, table), digest_method=xmlsec.Transform.SHA256,
        )  # fmt: skip
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from error


def _method(xmlsec: Any, table: Mapping[str, Any]) -> Any:
    with open(table["key"], "rb") as file:
        key = load_pem_private_key(file.read(), table["key_password"].encode() or None)
    return xmlsec.Transform.ECDSA_SHA256 if isinstance(key, EllipticCurvePrivateKey) else xmlsec.Transform.RSA_SHA256


class _Timestamp:
    """The time at which an envelope was written, and until when it is valid."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def apply(self, envelope: Any, headers: Any) -> tuple[Any, Any]:
        """Add it (zeep calls this)."""
        now = datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(seconds=self._seconds)
        written = [f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z" for instant in (now, until)]
        get_security_header(envelope).append(WSU.Timestamp(WSU.Created(written[0]), WSU.Expires(written[1])))
        return envelope, headers

    def verify(self, envelope: Any) -> None:
        """Check nothing: answers are parsed elsewhere."""

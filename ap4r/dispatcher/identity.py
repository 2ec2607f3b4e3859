"""Whom an upstream's TLS trusts and who it is itself: an authority's certificates, a client's certificate and key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from OpenSSL import crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from ap4r.errors import ConfigError
from ap4r.upstreams import UpstreamSettings

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_STAND_IN = "name.invalid"


@dataclass(frozen=True, slots=True)
class Identity:
    """The contents of an upstream's files, as they were when they were read. Empty is what the system has."""

    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    server_name: str = ""

    @classmethod
    def of(cls, upstream: UpstreamSettings) -> Identity:
        """Read the files of an upstream.

        :raises ConfigError: one cannot be read, or does not hold what it should.
        """
        identity = cls(
            _read(upstream, "ca"), _read(upstream, "certificate"), _read(upstream, "key"), upstream.server_name
        )
        try:
            Policy(identity).creatorForNetloc(b"localhost", 443)
        except Exception as error:  # noqa: BLE001 - whatever OpenSSL and Twisted say about a file
            name = f"upstreams.{upstream.name}"
            problem = (
                f"ca, certificate or key is of no use ({type(error).__name__}: {error}); each is a file in PEM, key "
                "that of certificate, without a passphrase"
            )
            raise ConfigError(name, problem) from None
        return identity


@implementer(IPolicyForHTTPS)
class Policy:
    """How TLS connections of an upstream are made."""

    def __init__(self, identity: Identity) -> None:
        self._server_name = identity.server_name
        self._options: dict[str, Any] = {}
        if identity.ca:
            self._options["trustRoot"] = trustRootFromCertificates(
                [Certificate.loadPEM(pem) for pem in _certificates(identity.ca)]
            )
        if identity.certificate:
            own, *chain = _certificates(identity.certificate)
            key = KeyPair(crypto.load_privatekey(crypto.FILETYPE_PEM, identity.key, passphrase=b""))
            self._options["clientCertificate"] = PrivateCertificate.fromCertificateAndKeyPair(
                Certificate.loadPEM(own), key
            )
            if chain:
                extra = [crypto.load_certificate(crypto.FILETYPE_PEM, pem) for pem in chain]
                self._options["extraCertificateOptions"] = {"extraCertChain": extra}

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """Give what makes connections to a host (IPolicyForHTTPS)."""
        name = self._server_name or hostname.decode("ascii").strip("[]")
        try:
            creator: Any = optionsForClientTLS(name, **self._options)
        except UnicodeError:
            # Twisted takes only names that could be registered today; certificates and DNS know others.
            if not _NAME.fullmatch(name):
                raise
            creator = optionsForClientTLS(_STAND_IN, **self._options)
            # Should Twisted keep the name elsewhere one day, no certificate has the other one: it fails.
            creator._hostname = creator._hostnameASCII = name
            creator._hostnameBytes = name.encode("ascii")
        return cast(IOpenSSLClientConnectionCreator, creator)


def _certificates(text: bytes) -> list[bytes]:
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ValueError("there is no certificate in PEM in it")
    return found


def _read(upstream: UpstreamSettings, key: str) -> bytes:
    path = getattr(upstream, key)
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"upstreams.{upstream.name}.{key}", f"{path} cannot be read: {error.strerror}") from None

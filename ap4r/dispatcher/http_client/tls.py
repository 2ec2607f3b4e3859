"""The TLS settings of an upstream: an authority's certificates, a client's certificate and key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from ap4r.dispatcher.http_client.certificate_names import bare_name, is_address, is_for, say_names
from ap4r.errors import ConfigError
from ap4r.settings.upstreams import UpstreamSettings

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Identity:
    """The contents of an upstream's files, as they were when they were read. Empty values use the system's."""

    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    server_name: str = ""

    @classmethod
    def of(cls, upstream: UpstreamSettings) -> Identity:
        """Read the files of an upstream.

        :raises ConfigError: one cannot be read, or has the wrong content.
        """
        identity = cls(
            _read(upstream, "ca"), _read(upstream, "certificate"), _read(upstream, "key"), upstream.server_name
        )
        try:
            Policy(identity).creatorForNetloc(b"localhost", 443)
        except Exception as error:  # noqa: BLE001 - OpenSSL and Twisted may raise anything for a file
            name = f"upstreams.{upstream.name}"
            problem = (
                f"ca, certificate or key is unusable ({type(error).__name__}: {error}); each is a file in PEM, key "
                "that of certificate, without a passphrase"
            )
            raise ConfigError(name, problem) from None
        return identity


class NotTheServer(SSL.Error):
    """A server has not proved that it is the expected one."""


@implementer(IPolicyForHTTPS)
class Policy:
    """Builds the TLS connections of an upstream."""

    def __init__(self, identity: Identity) -> None:
        self._server_name = identity.server_name
        self._options: dict[str, Any] = {"trustRoot": platformTrust()}
        if identity.ca:
            self._options["trustRoot"] = trustRootFromCertificates(
                [Certificate.loadPEM(pem) for pem in _certificates(identity.ca)]
            )
        if identity.certificate:
            # Objects of cryptography, because pyOpenSSL's own for certificates and keys are deprecated.
            own, *chain = (load_pem_x509_certificate(pem) for pem in _certificates(identity.certificate))
            self._options["certificate"] = own
            self._options["privateKey"] = load_pem_private_key(identity.key, None)
            if chain:
                self._options["extraCertChain"] = chain

    def creatorForNetloc(self, hostname: bytes, port: int) -> ServerCheck:
        """Return what opens connections to a host and checks its certificate (IPolicyForHTTPS)."""
        name = self._server_name or hostname.decode("ascii")
        return ServerCheck(CertificateOptions(**self._options).getContext(), bare_name(name))


@implementer(IOpenSSLClientConnectionCreator)
class ServerCheck:
    """Builds TLS connections to one name, and refuses every server that does not prove to be that one."""

    def __init__(self, context: SSL.Context, name: str) -> None:
        self._context = context
        self._name = name
        # An address is not a server name (RFC 6066, section 3).
        self._asked_for = b"" if is_address(name) else name.encode("ascii")

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Return a connection that is about to begin its handshake (IOpenSSLClientConnectionCreator)."""
        connection = SSL.Connection(self._context, None)
        if self._asked_for:
            connection.set_tlsext_host_name(self._asked_for)

        def check(_: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
            # OpenSSL only uses the return value: an exception would be lost, or count as acceptance.
            try:
                if depth == 0 and ok:
                    self.check(certificate)
            except Exception:  # noqa: BLE001 - after any error the certificate is not verified
                tlsProtocol.failVerification(Failure())
                return False
            return bool(ok)

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, check)
        return connection

    def check(self, certificate: crypto.X509 | None) -> None:
        """Check that a certificate, which OpenSSL trusts, is for the expected name.

        :raises NotTheServer: it is not, or it cannot be read.
        """
        if certificate is None:
            raise NotTheServer(f"the server sent no certificate; expected {self._name}")
        text = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        try:
            if is_for(text, self._name):
                return
        except Exception as error:
            raise NotTheServer(f"the server's certificate cannot be verified: {error!r}") from error
        raise NotTheServer(f"the server's certificate is for {say_names(text)}; expected {self._name}")


def _certificates(text: bytes) -> list[bytes]:
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ValueError("it has no certificate in PEM")
    return found


def _read(upstream: UpstreamSettings, key: str) -> bytes:
    path = getattr(upstream, key)
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"upstreams.{upstream.name}.{key}", f"{path} cannot be read: {error.strerror}") from None

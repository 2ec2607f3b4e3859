"""A certificate authority of the test's own, and a server's certificate that it signed."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Issued:
    """Files in PEM: the authority's certificate, the server's, and the server's key."""

    authority: Path
    certificate: Path
    key: Path


class Authority:
    """An authority that signs whatever it is given, as a careless or a private one would."""

    def __init__(self, name: str = "test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {name}")])
        self.certificate = (
            _begun(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, common_name: str, names: x509.ExtensionType | None) -> tuple[bytes, bytes]:
        """Return a server's certificate and its key, in PEM; `names` is its extension of alternative names."""
        key = ec.generate_private_key(ec.SECP256R1())
        begun = _begun(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]), self._name, key)
        begun = begun.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if names is not None:
            begun = begun.add_extension(names, critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return begun.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), private


def issue(folder: Path, name: str) -> Issued:
    """Create an authority and let it sign a certificate for a name or an address."""
    authority = Authority(name)
    try:
        other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        other = x509.DNSName(name)
    certificate, key = authority.sign(name, x509.SubjectAlternativeName([other]))
    folder.mkdir(parents=True, exist_ok=True)
    issued = Issued(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    issued.authority.write_bytes(authority.pem)
    issued.certificate.write_bytes(certificate)
    issued.key.write_bytes(key)
    return issued


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )

"""Envelopes that are signed after a WSDL, as others verify them."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree
from zeep.exceptions import SignatureVerificationFailed
from zeep.wsse.signature import BinarySignature

from tests.unit.protocols.test_wsse import UTILITY, envelope_of, table


def rsa_key():
    """Create a key of RSA."""
    return rsa.generate_private_key(65_537, 2_048)


def ec_key():
    """Create a key on a curve."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate_of(key):
    """Write a certificate for a key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(5).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("make", "password"), [(rsa_key, ""), (rsa_key, "pass"), (ec_key, "")], ids=["rsa", "encrypted", "ec"]
)
def test_a_signature_is_verified_by_others(tmp_path, make, password):
    """The body and the Timestamp are signed by the key, the certificate goes along, and no change passes."""
    key, file, certificate = make(), tmp_path / "own.key", tmp_path / "own.pem"
    certificate.write_bytes(certificate_of(key))
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    more = {"key_password": "env:P"} if password else {}
    securities = table(password, timestamp_seconds=300, key=str(file), certificate=str(certificate), **more)
    envelope = envelope_of(securities=securities, wsse="bank")
    assert len(envelope.findall(".//{http://www.w3.org/2000/09/xmldsig#}Reference")) == 2
    verifier = BinarySignature(str(file), str(certificate))
    changed = etree.fromstring(etree.tostring(envelope))
    verifier.verify(envelope)
    changed.find(f".//{UTILITY}Created").text = "2020-01-01T00:00:00Z"
    with pytest.raises(SignatureVerificationFailed):
        verifier.verify(changed)

"""Checks whether a server's certificate is for the expected name or address (RFC 9525, section 6).

Pure. It reads only the subject's alternative names, because a common name proves nothing. OpenSSL checks whether the
certificate itself is trusted.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from cryptography import x509

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_MOST_LISTED = 3  #: the most names of another server's certificate in a text


def bare_name(name: str) -> str:
    """Return a host in the form of certificates: in lower case, without brackets and without a last dot."""
    return name.strip("[]").removesuffix(".").lower()


def is_address(name: str) -> bool:
    """Return whether a host is an IP address, which certificates list separately from names."""
    return _address(name) is not None


@lru_cache(maxsize=256)
def is_for(certificate: bytes, name: str) -> bool:
    """Return whether a certificate names a host: exactly, or by a wildcard for the whole first label.

    :param certificate: in DER.
    :param name: as `bare_name` returns it.
    :raises ValueError: the certificate cannot be read.
    """
    names = _alternative_names(certificate)
    if names is None:
        return False
    address = _address(name)
    if address is not None:
        return address in names.get_values_for_type(x509.IPAddress)
    labels = _labels(name)
    return labels is not None and any(
        _matches(pattern.lower(), labels) for pattern in names.get_values_for_type(x509.DNSName)
    )


def say_names(certificate: bytes) -> str:
    """Return the names of a certificate as text."""
    try:
        names = _alternative_names(certificate)
    except ValueError:
        names = None
    kinds = (x509.DNSName, x509.IPAddress)
    names_found = (
        [str(value) for kind in kinds for value in names.get_values_for_type(kind)] if names is not None else []
    )
    if not names_found:
        return "no name and no address (a common name alone does not count)"
    more = f" and {len(names_found) - _MOST_LISTED} more" if len(names_found) > _MOST_LISTED else ""
    return ", ".join(ascii(one)[1:-1][:100] for one in names_found[:_MOST_LISTED]) + more


def _alternative_names(certificate: bytes) -> x509.SubjectAlternativeName | None:
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        return extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _labels(name: str) -> list[str] | None:
    """Return the labels of a host name, or None for an invalid one, such as a number in place of a name."""
    labels = name.split(".")
    good = all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdecimal()
    return labels if good else None


def _matches(pattern: str, labels: list[str]) -> bool:
    if not pattern.startswith("*."):
        return _labels(pattern) == labels
    # A wildcard is for one label, and for a name in a domain, never for a top-level domain.
    rest = _labels(pattern[2:])
    return rest is not None and len(rest) >= 2 and rest == labels[1:]

"""Lists of networks and of hosts in the settings. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from ap4r.errors import ConfigError, TargetRefused
from ap4r.message.target import parse_target
from ap4r.redaction import shortened

Network = IPv4Network | IPv6Network
_ANY_BELOW = "*."


def parse_networks(name: str, where: str, value: object, _: object) -> tuple[str, ...]:
    """Parse networks such as 10.0.0.0/8, fd00::/8 or a single address; return their canonical form.

    :raises ConfigError: the text names the invalid one.
    """
    networks = []
    for text in _texts(name, where, value):
        try:
            networks.append(str(ip_network(text)))
        except ValueError as error:
            raise ConfigError(name, f"in {where}: {shortened(text)} is not a network: {error}") from None
    return tuple(networks)


def parse_host_patterns(name: str, where: str, value: object, _: object) -> tuple[str, ...]:
    """Parse hosts: `api.example.com`, or `*.example.com` for all names below it; return their canonical form.

    :raises ConfigError: the text names the invalid one.
    """
    patterns = []
    for text in _texts(name, where, value):
        below = _ANY_BELOW if text.startswith(_ANY_BELOW) else ""
        bare = text.removeprefix(below)
        if re.search(r"[/?#@*\s]", bare):
            raise ConfigError(
                name, f"in {where}: {shortened(text)} is not a host such as api.example.com or *.example.com"
            )
        try:
            host = urlsplit(parse_target(f"http://{bare}/")[0].url)
        except TargetRefused as error:
            raise ConfigError(name, f"in {where}: {shortened(text)}: {error.problem}") from None
        if host.port is not None or bare.endswith(":80"):
            raise ConfigError(name, f"in {where}: {shortened(text)}: give the host without a port")
        patterns.append(below + canonical_host(host.hostname or ""))
    return tuple(patterns)


def canonical_host(host: str) -> str:
    """Return a host's name in the spelling that is compared."""
    return host.lower().removesuffix(".")


def is_listed(host: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a host, in canonical form, is among the patterns."""
    return any(
        host == pattern or (pattern.startswith(_ANY_BELOW) and host.endswith(pattern[1:])) for pattern in patterns
    )


def _texts(name: str, where: str, value: object) -> list[str]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not all(isinstance(text, str) and text for text in given):
        raise ConfigError(name, f"in {where}: it is not a list of strings")
    return list(given)

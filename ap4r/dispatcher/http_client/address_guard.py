"""Decides where absolute URLs may go, by a host's name and by each of its addresses. Pure.

An address that represents another one (IPv4-mapped, NAT64, 6to4 …) is checked for both.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ap4r.settings.networks import Network, canonical_host, is_listed

Address = IPv4Address | IPv6Address

#: Never called: this network, link-local, multicast, reserved and broadcast (RFC 6890), and where clouds serve a
#: machine's credentials, if that is not link-local.
REFUSED_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "fec0::/10", "ff00::/8"),
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::254/128"),
    )
)
#: Networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052), stateless translation (RFC 2765), IPv4-compatible.
_ENDS_IN_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0:0/96"), IPv6Network("::/96"))
#: NAT64 of a network's own (RFC 8215). The place of the IPv4 address in it depends on the length of
#: that network's prefix (RFC 6052, 2.2): the bytes for 48, 56, 64 and 96 bits.
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_LOCAL_PLACES = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_ISATAP = (0x00005EFE, 0x02005EFE)


class AddressRefused(Exception):
    """A call must not go there; the text says why."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """The lists of the settings, in canonical form."""

    allow_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    allow_networks: tuple[str, ...] = ()
    deny_networks: tuple[str, ...] = ()


class Own:
    """The dispatcher's own addresses, once it listens.

    :param is_local: returns whether an address is one of this host's; called if it listens on all of them.
    """

    def __init__(self, is_local: Callable[[str], bool]) -> None:
        self._is_local = is_local
        self._at: tuple[Address, int] | None = None

    def listen(self, host: str, port: int) -> None:
        """Record where the dispatcher listens."""
        self._at = (ip_address(host or "0.0.0.0"), port)

    def is_at(self, address: Address, port: int) -> bool:
        """Return whether a connection there would reach the dispatcher itself."""
        if self._at is None or port != self._at[1]:
            return False
        own = self._at[0]
        if own.is_unspecified:
            return address.is_unspecified or address.is_loopback or self._is_local(str(address))
        return address == own or address.is_unspecified


class AddressGuard:
    """Checks hosts and addresses. Without rules it refuses the dispatcher's own address only."""

    def __init__(self, own: Own, rules: AddressRules | None) -> None:
        self._own = own
        self._rules = rules
        if rules is not None:
            self._allowed = tuple(ip_network(text) for text in rules.allow_networks)
            self._denied = tuple(ip_network(text) for text in rules.deny_networks)

    def problem(self, host: str, addresses: Sequence[str], port: int) -> str | None:
        """Return why a host must not be called, or None. One refused address refuses all.

        :param host: as in the URL.
        :param addresses: all that it resolves to.
        """
        name = canonical_host(host.strip("[]"))
        rules = self._rules
        if rules is not None and is_listed(name, rules.deny_hosts):
            return f"{name} is denied by deny_hosts"
        listed = rules is not None and is_listed(name, rules.allow_hosts)
        for text in addresses:
            problem = self._problem_of(text, port, listed)
            if problem is not None:
                return problem if text == name else f"{name} is {text}: {problem}"
        return None

    def problem_behind_proxy(self, host: str, port: int) -> str | None:
        """Return why a host must not be called through a proxy, or None. The proxy looks up its addresses."""
        literal = literal_address(host)
        problem = self.problem(host, () if literal is None else (literal,), port)
        rules, name = self._rules, canonical_host(host.strip("[]"))
        if problem is not None or literal is not None or rules is None:
            return problem
        if (rules.allow_networks or rules.allow_hosts) and not is_listed(name, rules.allow_hosts):
            return f"{name} is not in allow_hosts, and with a proxy its addresses are not known"
        return None

    def _problem_of(self, text: str, port: int, listed: bool) -> str | None:
        meant = list(meant_by(ip_address(text.partition("%")[0])))
        if any(self._own.is_at(address, port) for address in meant):
            return f"{text} port {port} is the dispatcher's own address"
        rules = self._rules
        if rules is None:
            return None
        for address in meant:
            denied = next((network for network in self._denied if _is_in(address, network)), None)
            if denied is not None:
                return f"{address} is denied by deny_networks ({denied})"
            refused = next((network for network in REFUSED_NETWORKS if _is_in(address, network)), None)
            if refused is not None and not self._is_asked_for(address, refused):
                return f"{address} is in {refused}, link-local, metadata or not a single host"
        if (rules.allow_networks or rules.allow_hosts) and not listed:
            # The address of the connection decides here; the address that it represents must not widen the list.
            outside = [a for a in meant if not any(_is_in(a, network) for network in self._allowed)]
            if outside:
                return f"{outside[0]} is neither in allow_networks nor its host in allow_hosts"
        return None

    def _is_asked_for(self, address: Address, refused: Network) -> bool:
        # Only by a network within the refused one: 0.0.0.0/0 means "anything", but not the metadata.
        return any(
            _is_in(address, network)
            and network.version == refused.version
            and refused.prefixlen <= network.prefixlen
            and network.network_address in refused
            for network in self._allowed
        )


def literal_address(host: str) -> str | None:
    """Return the address that a host's text is, in every notation of resolvers (decimal, octal, hex, short)."""
    bare = host.strip("[]").partition("%")[0].removesuffix(".")
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except (OSError, UnicodeError):
        return None


def meant_by(address: Address) -> Iterator[Address]:
    """Yield an address, and each one that it represents: RFC 4291 (2.5.5), 6052, 8215, 2765, 3056, 4380, 5214."""
    yield address
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    low = IPv4Address(number & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif number > 1 and any(address in network for network in _ENDS_IN_IPV4):
        yield low
    elif address in _LOCAL_NAT64:
        places = (IPv4Address(bytes(address.packed[place] for place in places)) for places in _LOCAL_PLACES)
        # Zeros in place of an address are not an address.
        yield from (place for place in places if place not in _THIS_NETWORK)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        yield low


def _is_in(address: Address, network: Network) -> bool:
    if isinstance(address, IPv4Address):
        return isinstance(network, IPv4Network) and address in network
    return isinstance(network, IPv6Network) and address in network

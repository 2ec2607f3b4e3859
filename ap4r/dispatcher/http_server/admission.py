"""Decides who may call the listen address and put messages: Host, the browser's Origin, the token, the rate. Pure.

Any web page can make its reader's browser POST to an address of the reader's own machine, so calls over loopback are
not admitted for that alone: Host has the page's name if its name was pointed to our address, otherwise Origin has it.
"""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from ap4r.dispatcher.http_server.problem import Refusal
from ap4r.errors import ConfigError
from ap4r.message.target import Target

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ANYWHERE = frozenset({"", "0.0.0.0", "::", "\\:\\:"})
_PORT = re.compile(r":\d*\Z")
_CALLERS_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Listening:
    """The setting `listen`: the interface ("" for every one), or the path of a UNIX socket."""

    interface: str = ""
    path: str = ""

    @property
    def is_private(self) -> bool:
        """Whether only this host can connect."""
        if self.path:
            return True
        try:
            return self.interface == "localhost" or ip_address(self.interface).is_loopback
        except ValueError:
            return False


def parse_listen(text: str) -> Listening:
    """Parse who can reach an endpoint of Twisted, such as tcp:7438:interface=127.0.0.1."""
    kind, *parts = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", text))
    values = dict(part.split("=", 1) for part in parts if "=" in part)
    plain = [part for part in parts if "=" not in part]
    if kind == "unix":
        return Listening(path=values.get("address", plain[0] if plain else ""))
    interface = values.get("interface", plain[1] if len(plain) > 1 else "")
    return Listening(interface="" if interface in _ANYWHERE else interface)


class RequestAdmission:
    """Decides whether a request is admitted.

    :param tokens: any of them is valid; none means that no token is required.
    :param hosts: names that Host may have beside this host's own.
    :param takes_messages: whether there is an intake, so that a listener that others can reach needs a token.
    """

    def __init__(
        self, listening: Listening, tokens: Sequence[str], hosts: Sequence[str], *, takes_messages: bool = True
    ) -> None:
        """Store the rules.

        :raises ConfigError: others can reach the intake and there is no token.
        """
        if takes_messages and not tokens and not listening.is_private:
            where = listening.interface or "every interface"
            raise ConfigError(
                "intake_token",
                f"the intake listens on {where}, where others can reach it: give a token, or listen on "
                "interface=127.0.0.1 or a UNIX socket (setting listen), or set intake = false",
            )
        self._tokens = [token.encode() for token in tokens]
        interface = f"[{listening.interface}]" if ":" in listening.interface else listening.interface
        self._hosts = {*_LOCAL_NAMES, *(host.lower() for host in hosts), *([interface.lower()] if interface else [])}

    def refuse(self, host: str, origin: str | None, authorization: str | None) -> Refusal | None:
        """Return why a request with these headers may not put messages, None when it may."""
        if not self._is_our_name(host):
            return _no_such_host(host)
        if origin is not None:
            advice = "call from a server; no web page may put messages here"
            return Refusal(403, "origin_refused", "the request comes from a web page", "Origin", advice)
        if self._tokens and not self._is_known(authorization or ""):
            advice = "send Authorization: Bearer with the intake_token of this dispatcher"
            return Refusal(401, "token_refused", "the token is missing or unknown", "Authorization", advice)
        return None

    def refuse_look(self, host: str | None, origin: str | None) -> Refusal | None:
        """Return why a request with these headers may not even read, None when it may.

        A page whose name was pointed to this address calls it by that name. An address in Host is what load balancers
        send, and no Host at all is what the oldest of them send; no page can do either.
        """
        if host and not self._is_our_name(host) and not _is_address(_PORT.sub("", host)):
            return _no_such_host(host)
        if origin is not None:
            return Refusal(403, "origin_refused", "the request comes from a web page", "Origin", "call from a server")
        return None

    def sees_all(self, host: str | None, authorization: str | None, peer: str | None, *, is_forwarded: bool) -> bool:
        """Return whether a request's sender may see where stores are and what is held: one with a token, or one that
        calls from this host by one of its names.

        :param peer: the address that the request comes from; None for a UNIX socket.
        :param is_forwarded: whether a proxy reports that it comes from elsewhere.
        """
        if self._tokens and self._is_known(authorization or ""):
            return True
        return not is_forwarded and self._is_our_name(host or "") and (peer is None or _is_here(peer))

    def caller_of(self, authorization: str | None, peer: str) -> str:
        """Return the caller for whom a request's messages count: a token in any spelling, else the address (of IPv6,
        the network of 64 bits, which belongs to one customer).
        """
        if self._tokens:
            shown = _token_of(authorization or "")
            for number, token in enumerate(self._tokens):
                if hmac.compare_digest(shown, token):
                    return f"token {number}"
        return _network_of(peer) if ":" in peer else peer

    def _is_our_name(self, host: str) -> bool:
        name = _PORT.sub("", host.lower())
        return host.lower() in self._hosts or name in self._hosts or _is_loopback(name)

    def is_self(self, target: Target, port: int) -> bool:
        """Return whether a target is this intake's own address."""
        if target.upstream is not None or not port:
            return False
        scheme, _, authority = target.origin.partition("://")
        found = re.fullmatch(r"(.*?)(?::(\d+))?", authority)
        assert found is not None
        host = found[1]
        if int(found[2] or {"http": 80, "https": 443}[scheme]) != port:
            return False
        return host in self._hosts or f"{host}:{port}" in self._hosts or _is_here(host.strip("[]"))

    def _is_known(self, authorization: str) -> bool:
        shown = _token_of(authorization)
        # All are compared, so that the time does not reveal which one is similar.
        good = [hmac.compare_digest(shown, token) for token in self._tokens]
        return any(good)


@lru_cache(maxsize=1_024)
def _network_of(peer: str) -> str:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or ip_network((address, 64), strict=False))


def _token_of(authorization: str) -> bytes:
    scheme, _, given = authorization.partition(" ")
    return given.strip().encode() if scheme.lower() == "bearer" else b""


def _no_such_host(host: str) -> Refusal:
    advice = "call it by a name that it knows, or add this one to intake_hosts where it runs"
    return Refusal(403, "host_refused", f"no dispatcher is called {host[:200]!r}", "Host", advice)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


class Rates:
    """Limits each caller's messages a second, with a second's worth at once; a larger batch delays later ones."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def refuse(self, caller: str, count: int, now: float) -> Refusal | None:
        """Count `count` messages of a caller, or return why they are refused."""
        most = max(1.0, self.rate)
        level, at = self._levels.pop(caller, (most, now))
        level = min(most, level + (now - at) * self.rate)
        taken = level >= min(count, most)
        self._levels[caller] = (level - count if taken else level, now)
        while len(self._levels) > _CALLERS_KNOWN:
            self._levels.popitem(last=False)
        if taken:
            return None
        wait_seconds = (min(count, most) - level) / self.rate
        advice = "send it again then; nothing was stored"
        problem = f"more than {self.rate:g} messages a second from one caller (setting intake_rate)"
        return Refusal(429, "too_many", problem, "", advice, wait_seconds)

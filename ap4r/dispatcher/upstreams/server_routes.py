"""The route to each server: the endpoints, the beginning of its requests' URLs, and the headers for a proxy.

Routes live as long as their settings stay the same, so kept connections stay usable over a reload.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from twisted.web.iweb import IAgentEndpointFactory

from ap4r.dispatcher.http_client.address_guard import AddressGuard, AddressRules, Own
from ap4r.dispatcher.http_client.endpoints import Endpoints, ProxyEndpoints, UnixEndpoints
from ap4r.dispatcher.http_client.forward_proxy import ForwardProxies, find_forward_proxies
from ap4r.dispatcher.http_client.name_lookup import Names
from ap4r.dispatcher.http_client.resolver import is_local
from ap4r.dispatcher.http_client.tls import Identity, Policy
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import UNIX


class ServerRoute:
    """How requests reach a server. Routes are compared by identity: kept connections belong to a route.

    :param base: the beginning of a request's URL; empty if the URL is complete already.
    :param absolute: whether a request for http has the whole URL, as a proxy requires (RFC 9112, 3.2.2).
    :param lines: headers of http requests for a proxy, as lines.
    """

    __slots__ = ("absolute", "base", "endpoints", "lines")

    def __init__(
        self, endpoints: IAgentEndpointFactory, base: str = "", *, absolute: bool = False, lines: bytes = b""
    ) -> None:
        self.endpoints = endpoints
        self.base = base
        self.absolute = absolute
        self.lines = lines


@dataclass(frozen=True, slots=True)
class _Made:
    """The settings that a route depends on."""

    server: str
    identity: Identity
    proxy: str
    proxy_authorization: bytes
    rules: AddressRules | None


#: The routes of absolute URLs by their name: direct, or by scheme through a proxy.
_DIRECT = ("", "")


@dataclass(frozen=True, slots=True)
class PlannedRoutes:
    """All routes that the settings need, and the proxies that absolute URLs use."""

    routes: dict[tuple[str, str], _Made]
    proxies: ForwardProxies | None


class ServerRoutes:
    """The routes of all upstreams, and the guarded one of absolute URLs (`others`).

    :param instead: replaces all endpoints in tests.
    :raises ConfigError: a file or a secret that the settings refer to is missing.
    """

    def __init__(self, reactor: Any, settings: Settings, instead: IAgentEndpointFactory | None = None) -> None:
        self._reactor = reactor
        self._instead = instead
        self.own = Own(is_local)
        self._routes: dict[tuple[str, str], ServerRoute] = {}
        self._proxies: ForwardProxies | None = None
        self._made: dict[tuple[str, str], _Made] = {}
        self.take(self.planned(settings))

    def of(self, upstream: str, server: str) -> ServerRoute:
        """Return the route to a server of an upstream."""
        route = self._routes.get((upstream, server))
        if route is None:
            # A server that is not in the settings: the application in this process.
            route = self._routes[upstream, server] = ServerRoute(self.others.endpoints, server)
        return route

    @property
    def others(self) -> ServerRoute:
        """The route of absolute URLs."""
        return self._routes[_DIRECT]

    @property
    def has_proxies(self) -> bool:
        """Whether any absolute URL uses a proxy."""
        return self._proxies is not None

    def to(self, url: str) -> ServerRoute:
        """Return the route to an absolute URL."""
        proxy = self._proxies.choose(url) if self._proxies is not None else None
        return self.others if proxy is None else self._routes["", url.partition(":")[0]]

    def planned(self, settings: Settings) -> PlannedRoutes:
        """Read the files and secrets of the settings; nothing is changed yet.

        :raises ConfigError: a file or a secret is missing.
        """
        rules = AddressRules(settings.allow_hosts, settings.deny_hosts, settings.allow_networks, settings.deny_networks)
        planned = {_DIRECT: _Made("", Identity(), "", b"", rules)}
        proxies = find_forward_proxies(settings, os.environ)
        for scheme, proxy in proxies.by_scheme.items() if proxies is not None else ():
            made = _Made("", Identity(), proxy.url, proxy.authorization, rules)
            planned["", scheme] = made
        for one in settings.upstreams:
            identity = Identity.of(one) if one.ca or one.certificate or one.server_name else Identity()
            authorization = one.proxy_auth.header() if one.proxy_auth else b""
            for server in one.servers:
                of_server = _Made(server, identity, one.proxy, authorization, rules if one.guarded else None)
                planned[one.name, server] = of_server
        return PlannedRoutes(planned, proxies)

    def take(self, planned: PlannedRoutes) -> None:
        """Use these routes from now on; unchanged ones are kept, with their connections."""
        routes = {
            key: self._routes[key] if self._made.get(key) == made else self._make(made, key[1])
            for key, made in planned.routes.items()
        }
        self._routes, self._made, self._proxies = routes, planned.routes, planned.proxies
        names = getattr(self._reactor, "nameResolver", None)
        if isinstance(names, Names):
            names.preferred = frozenset(urlsplit(server).hostname or "" for _, server in routes)

    def _make(self, made: _Made, server: str) -> ServerRoute:
        if made.server.startswith(UNIX):
            return ServerRoute(
                self._instead or UnixEndpoints(self._reactor, made.server.removeprefix(UNIX)),
                "http://localhost",
            )
        if self._instead is not None:
            # Without headers and the absolute form: there is no proxy that needs them.
            return ServerRoute(self._instead, made.server)
        guard = AddressGuard(self.own, made.rules)
        policy = Policy(made.identity)
        if made.proxy:
            # The lists of the settings are about the targets of messages, not about the proxy on their route.
            to_proxy, targets = AddressGuard(self.own, None), guard if made.rules is not None else None
            proxied = ProxyEndpoints(self._reactor, to_proxy, policy, made.proxy, made.proxy_authorization, targets)
            authorization = made.proxy_authorization
            lines = b"Proxy-Authorization: %s\r\n" % authorization if authorization else b""
            is_plain = server.startswith("http://") or server == "http"
            return ServerRoute(proxied, made.server, absolute=is_plain, lines=lines if is_plain else b"")
        return ServerRoute(Endpoints(self._reactor, policy, guard), made.server)

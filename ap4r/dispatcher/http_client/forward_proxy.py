"""The HTTP proxy for an absolute URL, if any. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

from ap4r.errors import ConfigError
from ap4r.settings.networks import canonical_host, is_listed
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import DEFAULT_PORTS, NO_PROXY, PROXY_ENVIRONMENT, server_url


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """A proxy, `http://host:port`, and the value of Proxy-Authorization, or ""."""

    url: str
    authorization: bytes = b""


@dataclass(frozen=True, slots=True)
class ForwardProxies:
    """The proxies of absolute URLs, by scheme, and the hosts that are called directly.

    :param direct_hosts: patterns of the setting `no_proxy`.
    :param no_proxy: the variable NO_PROXY.
    """

    by_scheme: Mapping[str, ForwardProxy]
    direct_hosts: tuple[str, ...] = ()
    no_proxy: str = ""

    def choose(self, url: str) -> ForwardProxy | None:
        """Return the proxy for an absolute URL; None if it is called directly."""
        parts = urlsplit(url)
        proxy = self.by_scheme.get(parts.scheme)
        host = canonical_host(parts.hostname or "")
        if proxy is None or is_listed(host, self.direct_hosts):
            return None
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        return None if proxy_bypass_environment(f"{host}:{port}", {"no": self.no_proxy}) else proxy


def find_forward_proxies(settings: Settings, environ: Mapping[str, str]) -> ForwardProxies | None:
    """Return the proxies of the settings, or, if those say so, of the usual variables; None without a proxy.

    The variables are those of curl: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, the lower-case form first,
    but HTTP_PROXY not if REQUEST_METHOD is set, because a client's header `Proxy` can set it there.

    :raises ConfigError: a variable is not a proxy.
    """
    if settings.proxy == NO_PROXY:
        return None
    if settings.proxy != PROXY_ENVIRONMENT:
        proxy = ForwardProxy(settings.proxy)
        return ForwardProxies({"http": proxy, "https": proxy}, settings.no_proxy)
    found = {}
    for scheme in ("http", "https"):
        names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
        if scheme == "http" and "REQUEST_METHOD" in environ:
            names.remove("HTTP_PROXY")
        given = next(((name, environ[name]) for name in names if environ.get(name)), None)
        if given is not None:
            found[scheme] = _of_variable(*given)
    return ForwardProxies(found, settings.no_proxy, environ.get("no_proxy") or environ.get("NO_PROXY") or "")


def _of_variable(name: str, text: str) -> ForwardProxy:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme != "http":
        raise ConfigError("proxy", f"the variable {name} names a proxy that is not called by http://")
    address = parts.netloc.rpartition("@")[2]
    url = server_url(f"proxy, from the variable {name}", f"http://{address}")
    if parts.username is None:
        return ForwardProxy(url)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return ForwardProxy(url, b"Basic " + base64.b64encode(credentials.encode()))

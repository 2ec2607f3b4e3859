"""A server as the settings name it: its URL, its weight among others, the name it goes by. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ap4r.errors import ConfigError, TargetRefused
from ap4r.redaction import shortened
from ap4r.tables import only_known
from ap4r.target import parse_target

DEFAULT_PORTS = {"http": 80, "https": 443}
UNIX = "unix:"  #: how a server begins that listens on a UNIX socket: unix:/run/app.sock
MOST_WEIGHT = 1_000
#: In the place of a proxy: that there is none; what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say.
NO_PROXY, PROXY_ENVIRONMENT = "none", "environment"


def server_url(name: str, url: str) -> str:
    """Give a server's URL in canonical form.

    :raises ConfigError: it is no http or https URL of a server, nor a UNIX socket.
    """
    if url.startswith(UNIX):
        if not re.fullmatch(r"unix:/[^\x00-\x1f]{1,100}", url):
            raise ConfigError(name, f"{shortened(url)} is not of the form unix:/run/app.sock")
        return url
    if not url.lower().startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise ConfigError(name, f"{shortened(url)} is not of the form http://host:port or unix:/run/app.sock")
    try:
        return parse_target(url)[0].url.rstrip("/")
    except TargetRefused as error:
        raise ConfigError(name, f"{shortened(url)}: {error.problem}") from error


def proxy_url(name: str, text: str) -> str:
    """Return the setting of a proxy, `http://host:port`, in canonical form; `none` and `environment` as they are.

    :raises ConfigError: it is something else. Credentials are never shown.
    """
    if text in (NO_PROXY, PROXY_ENVIRONMENT):
        return text
    if "@" in text:
        raise ConfigError(name, f'credentials stand in HTTP_PROXY; set that, and {name} = "{PROXY_ENVIRONMENT}"')
    url = server_url(name, text)
    if not url.startswith("http://") or urlsplit(url).path:
        raise ConfigError(name, f"{shortened(text)} is not of the form http://host:port, {PROXY_ENVIRONMENT} or none")
    return url


def weights_of(name: str, where: str, value: object) -> dict[str, float]:
    """Read servers, each a URL or `{url = "…", weight = 2}`, into their weights.

    :raises ConfigError: saying which is wrong and why.
    """
    given = [value] if isinstance(value, (str, Mapping)) else value
    if not isinstance(given, (list, tuple)):
        raise ConfigError(name, f'in {where}: it must be a list of URLs, or of {{url = "…", weight = 2}}')
    weights: dict[str, float] = {}
    for one in given:
        table = one if isinstance(one, Mapping) else {"url": one}
        only_known(name, where, table, ("url", "weight"))
        url, weight = table.get("url"), table.get("weight", 1.0)
        if not isinstance(url, str):
            raise ConfigError(name, f'in {where}: it must be a list of URLs as text, or of {{url = "…", weight = 2}}')
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
            raise ConfigError(name, f"in {where}: the weight of {shortened(url)} is not a number")
        if not 0.001 <= weight <= MOST_WEIGHT:
            raise ConfigError(name, f"in {where}: the weight of {shortened(url)} is not from 0.001 to {MOST_WEIGHT:,}")
        server = server_url(name, url)
        if server in weights:
            raise ConfigError(name, f"in {where}: {shortened(url)} is there twice; give it a weight")
        weights[server] = float(weight)
    return weights


def host_and_port(name: str, where: str, text: object) -> str:
    """Give `host` or `host:port` in canonical form, a port only where one was given.

    :raises ConfigError: it is neither.
    """
    if not isinstance(text, str) or not text or re.search(r"[/?#@\s]", text):
        raise ConfigError(name, f"in {where}: {shortened(text)} is not of the form shop.example.com, or with a port")
    try:
        # The scheme whose default port this is not, so that the port stays.
        scheme = "https" if text.endswith(":80") else "http"
        return urlsplit(parse_target(f"{scheme}://{text}")[0].url).netloc
    except TargetRefused as error:
        raise ConfigError(name, f"in {where}: {shortened(text)}: {error.problem}") from error

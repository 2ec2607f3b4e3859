"""The servers that one URL names, and which of them to try first.

`…://user:password@one:3306,two:3306/database` names several that hold the same data: the nodes of a cluster, or a
primary and the servers that may replace it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ap4r.errors import ConfigError
from ap4r.redaction import without_credentials

_SEVERAL = re.compile(r"(?P<before>[^:/?#]+://(?:[^/?#]*@)?)(?P<hosts>[^/?#@]*,[^/?#@]*)(?P<after>[/?#].*)?")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(?::(?P<port>\d{1,5}))?")
#: Query fields that hold a secret, by the names that one of the two drivers uses.
_SECRET = re.compile(r"pass|secret|auth_token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Host:
    """One server. None leaves the value to the driver, which has a default."""

    name: str | None
    port: int | None

    def __str__(self) -> str:
        name = "" if self.name is None else f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


class Hosts:
    """The servers of one URL. The server that failed last is tried last; the first that works stays the first."""

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        self._order = list(hosts)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._order)

    def in_order(self) -> tuple[Host, ...]:
        """Return the servers in the order in which to try them."""
        with self._lock:
            return tuple(self._order)

    def failed(self, host: Host) -> None:
        """Record that a server cannot be used now."""
        with self._lock:
            self._order.remove(host)
            self._order.append(host)


def parse_url(text: str) -> tuple[URL, tuple[Host, ...]]:
    """Parse a URL that names one server or, with commas, several; ignore the server of the returned URL.

    :raises ConfigError: it is not such a URL.
    """
    several = _SEVERAL.fullmatch(text)
    try:
        if several is None:
            url = make_url(text)
            hosts: tuple[Host, ...] = (Host(url.host, url.port),)
        else:
            url = make_url(several["before"] + (several["after"] or ""))
            hosts = tuple(_host(part, text) for part in several["hosts"].split(","))
        for host in hosts:
            if "@" in (host.name or ""):
                raise ConfigError("store", f"{without_credentials(text)}: write @ in user and password as %40")
            if host.port is not None and not 0 < host.port < 65_536:
                raise ConfigError("store", f"{without_credentials(text)}: {host.port} is not a port; at most 65535")
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "store",
            f"{without_credentials(text)} is not a URL of the form KIND://USER:PASSWORD@HOST:PORT/DATABASE, "
            "where PORT is a number; in user and password write @ as %40, / as %2F and : as %3A",
        ) from error
    if not url.database:
        raise ConfigError("store", f"{without_credentials(text)} names no database; add it after the last slash")
    return url.set(host=None, port=None), hosts


def name_of(url: URL, hosts: tuple[Host, ...]) -> str:
    """Return the URL as logs and errors may show it: every server, no password."""
    user = "" if url.username is None else quote(url.username, safe="")
    if url.password is not None:
        user += ":***"
    shown = f"{url.drivername}://{user}{'@' if user else ''}{','.join(map(str, hosts))}/{url.database}"
    query = urlencode(_without_secrets(url.query), doseq=True, safe="/*")
    return f"{shown}?{query}" if query else shown


def _without_secrets(query: Mapping[str, tuple[str, ...] | str]) -> dict[str, tuple[str, ...] | str]:
    return {field: "***" if _SECRET.search(field) else value for field, value in query.items()}


def _host(part: str, text: str) -> Host:
    found = _HOST.fullmatch(part)
    if found is None:
        raise ConfigError("store", f"{without_credentials(text)}: {part!r} is not of the form host:port")
    port = found["port"]
    return Host(found["host"].strip("[]"), None if port is None else int(port))

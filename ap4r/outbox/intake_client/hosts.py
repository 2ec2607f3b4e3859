"""The hosts in the URL of an intake, and the order in which to try them. Pure; time is an argument."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ap4r.errors import ConfigError
from ap4r.redaction import without_credentials

#: How long a host that failed is tried after the others.
LEFT_OUT_SECONDS = 5.0
_DEFAULT_PORT = 7438


@dataclass(frozen=True, slots=True)
class IntakeHost:
    """One dispatcher's intake: a host and port, or the path of a UNIX socket."""

    name: str = "localhost"
    port: int = _DEFAULT_PORT
    tls: bool = False
    path: str = ""

    @property
    def url(self) -> str:
        """The host as a URL."""
        if self.path:
            return f"http+unix://{self.path}"
        host = f"[{self.name}]" if ":" in self.name else self.name
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def parse_intake(url: str) -> tuple[IntakeHost, ...]:
    """Parse `http://host:port`, several separated by commas, or `http+unix:///path`.

    :raises ConfigError: the URL is not valid; the text names the fault.
    """
    hosts = tuple(_parse_one(part.strip(), url) for part in url.split(","))
    if len(set(hosts)) < len(hosts):
        raise ConfigError("store", f"{without_credentials(url)} names one intake twice")
    return hosts


def _parse_one(part: str, url: str) -> IntakeHost:
    shown = without_credentials(part)
    # Further hosts may be written without the scheme, as in databases' URLs.
    text = part if "://" in part else f"{url.partition('://')[0]}://{part}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError("store", f"{shown} is not the URL of an intake: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError("store", f"{shown}: the token of an intake is not part of its URL; use intake_token")
    if parts.query or parts.fragment:
        raise ConfigError("store", f"{shown}: an intake's URL has no ? and no #")
    if parts.scheme == "http+unix":
        if parts.netloc or not parts.path.strip("/"):
            raise ConfigError("store", f"{shown} must have the form http+unix:///run/ap4r/intake.sock")
        return IntakeHost(path=unquote(parts.path))
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError("store", f"{shown} must have the form http://127.0.0.1:{_DEFAULT_PORT}")
    if parts.path not in ("", "/"):
        raise ConfigError("store", f"{shown}: an intake's URL has no path")
    return IntakeHost(parts.hostname, port or _DEFAULT_PORT, parts.scheme == "https")


class Rotation:
    """The hosts in turn, those that failed lately at the end. Threads may share it: a lost update is harmless."""

    def __init__(
        self, hosts: tuple[IntakeHost, ...], shuffle: Callable[[list[IntakeHost]], None] = random.shuffle
    ) -> None:
        # Processes that start together must not all begin with the same host.
        order = list(hosts)
        shuffle(order)
        self._hosts = order
        self._next = 0
        self._failed_at: dict[IntakeHost, float] = {}

    def order(self, now: float) -> list[IntakeHost]:
        """Return every host, in the order in which to try them for one put."""
        first = self._next % len(self._hosts)
        self._next = first + 1
        turned = self._hosts[first:] + self._hosts[:first]
        good = [host for host in turned if now - self._failed_at.get(host, float("-inf")) >= LEFT_OUT_SECONDS]
        return good + [host for host in turned if host not in good]

    def failed(self, host: IntakeHost, now: float) -> None:
        """Record that a host did not accept a put."""
        self._failed_at[host] = now

    def succeeded(self, host: IntakeHost) -> None:
        """Record that a host accepted one."""
        self._failed_at.pop(host, None)

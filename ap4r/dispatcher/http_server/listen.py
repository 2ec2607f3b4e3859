"""Listens at the endpoint of a setting, with errors that name the setting. It does not depend on what is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from ap4r.errors import ConfigError


def listen(endpoints: Callable[[Any, str], Any], reactor: Any, setting: str, endpoint: str, factory: Any) -> Any:
    """Listen on an endpoint such as `tcp:7438:interface=127.0.0.1` and return its port.

    :param endpoints: builds an endpoint from its text (`twisted.internet.endpoints.serverFromString`).
    :raises ConfigError: naming `setting`; the address is in use, or the text is invalid.
    """
    if endpoint.startswith("unix:") and ":mode=" not in endpoint:
        endpoint += ":mode=660"  # Twisted's own default admits every user
    try:
        made = endpoints(reactor, endpoint)
    except (ValueError, TypeError, KeyError) as error:
        problem = f"{endpoint} is not an address such as tcp:7438:interface=127.0.0.1 ({error})"
        raise ConfigError(setting, problem) from error
    ports: list[Any] = []
    failures: list[Failure] = []
    made.listen(factory).addCallbacks(ports.append, failures.append)
    if ports:
        return ports[0]
    if not failures:
        raise ConfigError(setting, f"{endpoint} does not report at once whether it listens; use tcp:")
    refused = failures[0].value
    why = refused.socketError if isinstance(refused, CannotListenError) else refused
    raise ConfigError(setting, f"cannot listen on {endpoint}: {why}") from refused


def url_of(address: Any) -> str:
    """Return the URL at which a listener is reached from this host."""
    if isinstance(address, UNIXAddress):
        name = address.name.decode() if isinstance(address.name, bytes) else address.name
        return f"http+unix://{name}"
    host = getattr(address, "host", "127.0.0.1")
    if host in ("", "0.0.0.0"):
        host = "127.0.0.1"
    elif host == "::":
        host = "::1"
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{getattr(address, 'port', 0)}"

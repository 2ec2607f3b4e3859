"""The addresses of doorbells, `udp://HOST:PORT` and `unix:/PATH`: ring one, resolve names, check for a listener."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

_UNIX = "unix:"
_CONTENT = b"ap4r"
_LISTENING_SECONDS = 0.05

_log = logging.getLogger("ap4r.outbox")


def send_datagram(address: str) -> None:
    """Send one bell to an address such as udp://127.0.0.1:54321 or unix:/run/ap4r/bell.sock, without waiting.

    The host must be an IP address, because looking up a name could block.

    :raises OSError: it could not be sent.
    :raises ValueError: the address is not of that form.
    """
    family, place = _place(address)
    # A new socket each time: it costs microseconds beside a commit, and a fork can never share it.
    with socket.socket(family, socket.SOCK_DGRAM) as bell:
        bell.setblocking(False)
        try:
            bell.sendto(_CONTENT, place)
        except BlockingIOError:
            # The listener's buffer is full of bells, and one would be enough.
            return


def resolve(addresses: Sequence[str]) -> tuple[str, ...]:
    """Replace each host name by an IP address; omit names without one. It may wait for the network."""
    resolved = []
    for address in addresses:
        try:
            resolved.append(_resolved(address))
        except (OSError, ValueError) as error:
            _log.debug("the doorbell %s cannot be reached: %s", address, error)
    return tuple(resolved)


def is_listening(address: str) -> bool:
    """Return whether a process seems to listen at an address, as seen from this host. It rings, which is harmless."""
    try:
        family, place = _place(_resolved(address))
        with socket.socket(family, socket.SOCK_DGRAM) as bell:
            bell.settimeout(_LISTENING_SECONDS)
            bell.connect(place)
            bell.send(_CONTENT)
            if family != socket.AF_UNIX:
                # A closed port is reported by a later call, once the answer to the first datagram has arrived.
                time.sleep(_LISTENING_SECONDS)
                bell.send(_CONTENT)
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _place(address: str) -> tuple[int, str | tuple[str, int]]:
    if address.startswith(_UNIX):
        return socket.AF_UNIX, address.removeprefix(_UNIX)
    parts = urlsplit(address)
    if parts.scheme != "udp" or not parts.hostname or not parts.port:
        raise ValueError(f"{address} is not an address of the form udp://host:port or unix:/path")
    family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
    socket.inet_pton(family, parts.hostname)
    return family, (parts.hostname, parts.port)


def _resolved(address: str) -> str:
    if address.startswith(_UNIX):
        return address
    parts = urlsplit(address)
    if not parts.hostname or not parts.port:
        raise ValueError("it is not of the form udp://host:port")
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)[0][4][0]
    return f"udp://[{found}]:{parts.port}" if ":" in str(found) else f"udp://{found}:{parts.port}"

"""The addresses of doorbells, `udp://HOST:PORT` and `unix:/PATH`: ringing one, resolving names, telling who hears."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

_UNIX = "unix:"
_CONTENT = b"ap4r"
_HEARS_SECONDS = 0.05

_log = logging.getLogger("ap4r.outbox")


def send_datagram(address: str) -> None:
    """Send one bell to an address such as udp://127.0.0.1:54321 or unix:/run/ap4r/bell.sock, without waiting.

    The host must be an IP address: looking up a name could wait.

    :raises OSError: it could not be sent.
    :raises ValueError: the address is not of that form.
    """
    family, place = _place(address)
    # A socket of its own each time: it costs microseconds beside a commit, and no fork can ever share it.
    with socket.socket(family, socket.SOCK_DGRAM) as bell:
        bell.setblocking(False)
        try:
            bell.sendto(_CONTENT, place)
        except BlockingIOError:
            # As many bells wait there as there is room for, and one would do.
            return


def resolve(addresses: Sequence[str]) -> tuple[str, ...]:
    """Put an IP address in the place of each host name; leave out what has none. It may wait for the network."""
    resolved = []
    for address in addresses:
        try:
            resolved.append(_resolved(address))
        except (OSError, ValueError) as error:
            _log.debug("the doorbell %s cannot be reached: %s", address, error)
    return tuple(resolved)


def hears(address: str) -> bool:
    """Tell whether somebody seems to listen at an address, from this host. It rings there, which harms nobody."""
    try:
        family, place = _place(_resolved(address))
        with socket.socket(family, socket.SOCK_DGRAM) as bell:
            bell.settimeout(_HEARS_SECONDS)
            bell.connect(place)
            bell.send(_CONTENT)
            if family != socket.AF_UNIX:
                # A port that nobody has is told by a later call, once the answer to the first datagram is here.
                time.sleep(_HEARS_SECONDS)
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

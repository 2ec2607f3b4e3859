"""Ask a web server for something, as a client that reads to the end or leaves in the middle."""

from __future__ import annotations

import http.client
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.processes import HOST

#: With this a close sends a reset at once, whatever is still unread.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client saw. `status` is 0 when no answer began; `whole` when the body came to the end it promised.

    `seconds` is what all of it took.
    """

    status: int
    whole: bool
    body: bytes = b""
    error: str = ""
    seconds: float = 0.0


def ask(
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    leave_after: int | None = None,
    timeout_seconds: float = 20.0,
) -> Asked:
    """Send one request on a connection of its own.

    :param leave_after: read so many bytes of the body, then vanish with a reset.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_seconds)
    status, began = 0, time.monotonic()
    try:
        connection.connect()
        if leave_after is not None:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        connection.request(method, path, body, {"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        status = response.status
        if leave_after is not None:
            read = response.read(leave_after)
            _reset(response)
            return Asked(status, False, read, seconds=time.monotonic() - began)
        return Asked(status, True, response.read(), seconds=time.monotonic() - began)
    except (OSError, http.client.HTTPException) as error:
        return Asked(status, False, error=repr(error), seconds=time.monotonic() - began)
    finally:
        connection.close()


def _reset(response: http.client.HTTPResponse) -> None:
    raw = response.fp.raw._sock  # type: ignore[attr-defined]
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    response.close()

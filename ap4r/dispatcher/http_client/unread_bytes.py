"""Checks whether bytes wait unread in a socket, and limits how much of them is read at a time. It reads nothing.

A deadline is only decided after this check, because the bytes may be what it waits for.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.internet.tcp import Connection as TCPConnection

#: Waiting bytes are read in so many turns of the reactor, each of 4 to 64 KiB, before an expired deadline counts.
MOST_READINGS = 1_024


class Connected(Protocol):
    """An object that has a transport of Twisted."""

    transport: Any


def has_unread(connection: Connected) -> bool:
    """Return whether bytes, or the other side's end, wait unread in the socket of a connection, TLS or not.

    A reactor runs its timers before it reads: after a standstill, deadlines expire while the answers wait unread.
    """
    transport = connection.transport
    for one in (transport, _beneath(transport)):
        found = getattr(one, "getHandle", lambda: None)()
        if isinstance(found, socket.socket):
            return _has_unread(found)
    return False


def reader_of(transport: Any) -> TCPConnection | None:
    """Return the transport that reads the socket, TLS or not: it reads up to `bufferSize` in a turn of the reactor."""
    for one in (transport, _beneath(transport)):
        if isinstance(one, TCPConnection):
            return one
    return None


def _beneath(transport: Any) -> Any:
    """Return what is beneath TLS: the transport that has the socket."""
    return getattr(transport, "transport", None)


def _has_unread(found: socket.socket) -> bool:
    try:
        found.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True

"""A TCP transport of Twisted's whose socket is in memory: it reads as much in a turn as it would of a real one."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock


class MemorySocket:
    """What came over a connection and is not read yet."""

    def __init__(self) -> None:
        self.unread = b""
        self.sent = b""

    def recv(self, count: int, flags: int = 0) -> bytes:
        """Return up to `count` bytes."""
        if not self.unread:
            raise BlockingIOError
        taken = self.unread[:count]
        if not flags:
            self.unread = self.unread[count:]
        return taken

    def send(self, data: bytes) -> int:
        """Send everything."""
        self.sent += data
        return len(data)

    def setblocking(self, flag: bool) -> None:
        """Do nothing."""

    def setsockopt(self, *option: object) -> None:
        """Do nothing."""

    def fileno(self) -> int:
        """Return no descriptor."""
        return -1


class MemoryConnection(Connection):
    """A connection over such a socket. `turn` is what a turn of the reactor does where bytes have come."""

    def __init__(self, protocol: Protocol) -> None:
        self.memory_socket: Any = MemorySocket()
        super().__init__(self.memory_socket, protocol, MemoryReactorClock())
        protocol.makeConnection(self)  # type: ignore[arg-type]

    def getPeer(self) -> IPv4Address:
        """Return an address."""
        return IPv4Address("TCP", "127.0.0.1", 50_000)

    def getHost(self) -> IPv4Address:
        """Return an address."""
        return IPv4Address("TCP", "127.0.0.1", 7_438)

    def turn(self) -> int:
        """Read once; return how many bytes were read."""
        before = len(self.memory_socket.unread)
        self.doRead()
        return before - len(self.memory_socket.unread)

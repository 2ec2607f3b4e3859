"""The response of a server whose head has come, as Twisted knows one: its body waits for whoever asks for it.

It parses nothing; the connection tells it what comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ap4r.dispatcher.head import Head
from ap4r.dispatcher.wire import ReceivedHeaders

if TYPE_CHECKING:
    from ap4r.dispatcher.connection import Connection


@implementer(IResponse)
class Response:
    """One response (IResponse)."""

    previousResponse = None
    request = None

    def __init__(self, connection: Connection, head: Head) -> None:
        self.code = head.status
        self.phrase = head.phrase
        self.headers = ReceivedHeaders(head)
        self._head = head
        self._connection = connection
        self._reader: Any = None
        self._waiting: list[bytes] = []
        self._ended: Failure | None = None

    @property
    def version(self) -> tuple[bytes, int, int]:
        """The protocol and the two numbers of its version (IResponse)."""
        return (b"HTTP", *self._head.version)

    @property
    def length(self) -> int | None:
        """The body's length as the head tells it (IResponse)."""
        return self._head.length

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the body to `protocol`, and then tell its `connectionLost` how it ended (IResponse)."""
        self._reader = protocol
        transport: Any = self._connection.transport
        protocol.makeConnection(transport)
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            protocol.dataReceived(piece)
        if self._ended is not None:
            protocol.connectionLost(self._ended)

    def setPreviousResponse(self, response: IResponse) -> None:
        """Note the response that was redirected to this one; none ever is (IResponse)."""

    def take(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self._reader is None:
            self._waiting.append(piece)
        else:
            self._reader.dataReceived(piece)

    def end(self, reason: Failure) -> None:
        """Note the body's end."""
        if self._ended is None:
            self._ended = reason
            if self._reader is not None:
                self._reader.connectionLost(reason)

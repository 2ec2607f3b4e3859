"""The connections of `--app`: which requests are read, and whether the connection is kept after them."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from zope.interface import implementer

from ap4r.dispatcher.app_server.environ import BadRequest, Ends, check_request
from ap4r.dispatcher.http_server.connections import Connections
from ap4r.dispatcher.http_server.strict_channel import StrictChannel


@implementer(IHalfCloseableProtocol)
class AppChannel(StrictChannel):
    """One connection. A client that has sent all of its requests may close its half, and is still answered."""

    MAX_LENGTH = 64 * 1024
    totalHeadersSize = 128 * 1024
    _has_ended = False

    @property
    def is_busy(self) -> bool:
        """Whether a whole request was given to the application and is not answered yet."""
        return bool(self._handlingRequest)

    def connectionMade(self) -> None:
        """Begin, unless there are too many connections."""
        super().connectionMade()
        self._connections().opened(self)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Release the connection's resources."""
        self._connections().closed(self)
        super().connectionLost(reason)

    def drop(self) -> None:
        """Close the connection at once."""
        transport: Any = self.transport
        transport.abortConnection()

    def _connections(self) -> Connections:
        connections: Connections = self.factory.connections
        return connections

    def allHeadersReceived(self) -> None:
        """Refuse requests that no application can read, otherwise continue with the body."""
        request = self.requests[-1]
        headers = {name.lower(): values for name, values in request.requestHeaders.getAllRawHeaders()}
        try:
            check_request(self._command, self._path, headers)
        except BadRequest as refused:
            self.refuse(refused.status, str(refused))
            return
        super().allHeadersReceived()

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """Return whether the client wants the connection kept."""
        connection = request.requestHeaders.getRawHeaders(b"connection", [])
        tokens = {token.strip().lower() for value in connection for token in value.split(b",")}
        if b"close" in tokens or self._command == b"CONNECT":
            return False
        return version == b"HTTP/1.1" or b"keep-alive" in tokens

    def readConnectionLost(self) -> None:
        """Assume that the client has sent everything; close when it is answered."""
        self._has_ended = True
        if self._handlingRequest or self.is_refused:
            return
        if self.requests:
            self.refuse(400, "the client sent only a part of a request")
        else:
            self.loseConnection()  # type: ignore[no-untyped-call]

    def writeConnectionLost(self) -> None:
        """Do nothing: our half is never closed alone."""

    def requestDone(self, request: Any) -> None:
        """Continue with the next request."""
        self._connections().answered(self)
        super().requestDone(request)
        if self._has_ended and not self._handlingRequest:
            self.loseConnection()  # type: ignore[no-untyped-call]


def ends_of(channel: Any) -> Ends:
    """Return the two ends of a connection."""
    peer, own = channel.getPeer(), channel.getHost()
    peer_host, own_host = (getattr(end, "host", None) or _name_of(end) for end in (peer, own))
    return Ends(peer_host, getattr(peer, "port", None), own_host, getattr(own, "port", None), channel.isSecure())


def _name_of(address: Any) -> str:
    name = getattr(address, "name", None) or b""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)

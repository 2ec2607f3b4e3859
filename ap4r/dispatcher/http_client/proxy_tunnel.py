"""A connection through an HTTP proxy: CONNECT, and then the protocol of the server behind it (RFC 9110, 9.3.6).

No byte of a request is written before the proxy has confirmed the tunnel.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

_MOST_HEAD_BYTES = 16 * 1024


class ProxyRefused(ConnectError):
    """The proxy opened no tunnel; the text is its answer."""

    def __init__(self, problem: str) -> None:
        super().__init__(string=problem)  # type: ignore[no-untyped-call]

    def __str__(self) -> str:
        return f"the proxy {self.args[0]}"


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """A server behind a proxy.

    :param proxy: the endpoint of the proxy.
    :param server: host and port as in CONNECT.
    :param authorization: the value of Proxy-Authorization, or "".
    """

    def __init__(self, proxy: IStreamClientEndpoint, server: bytes, authorization: bytes) -> None:
        self._proxy = proxy
        self._head = b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n" % (server, server)
        if authorization:
            self._head += b"Proxy-Authorization: %s\r\n" % authorization

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires with the factory's protocol when the tunnel is open."""
        connecting = cast("Deferred[Any]", self._proxy.connect(_TunnelFactory(protocolFactory, self._head + b"\r\n")))
        return connecting.addCallback(lambda tunnel: tunnel.completed)


class _TunnelFactory(Factory):
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, head: bytes) -> None:
        self._wrapped = wrapped
        self._head = head

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Tunnel(self._wrapped, addr, self._head)


class _Tunnel(Protocol):
    def __init__(self, factory: IProtocolFactory, address: IAddress | None, head: bytes) -> None:
        self._factory = factory
        self._address = address
        self._head = head
        self._answer = b""
        self._protocol: Any = None
        self.completed: Deferred[IProtocol] = Deferred(lambda _: cast(Any, self.transport).abortConnection())

    def connectionMade(self) -> None:
        cast(Any, self.transport).write(self._head)

    def dataReceived(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.dataReceived(data)
            return
        if self.completed.called:
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > _MOST_HEAD_BYTES:
                self._refuse("answered with an endless head")
            return
        version, _, status = head.split(b"\r\n", 1)[0].partition(b" ")
        if not version.startswith(b"HTTP/1.") or status[:1] != b"2":
            self._refuse(f"answered {status[:100].decode('ascii', 'replace')}")
            return
        self._protocol = self._factory.buildProtocol(cast(IAddress, self._address))
        self._protocol.makeConnection(self.transport)
        self.completed.callback(self._protocol)
        if rest:
            self._protocol.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._protocol is not None:
            self._protocol.connectionLost(reason)
        elif not self.completed.called:
            self.completed.errback(Failure(ProxyRefused("closed the connection")))

    def _refuse(self, problem: str) -> None:
        self.completed.errback(Failure(ProxyRefused(problem)))
        cast(Any, self.transport).abortConnection()

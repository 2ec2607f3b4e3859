"""Where connections are made: endpoints by scheme, host and port, kept so that a call need not build one.

An HTTPS endpoint counts as connected when its handshake is over, so that no byte of a request is ever written to a
peer that proves to be the wrong one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IAddress, IHandshakeListener, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

MOST_ENDPOINTS = 1_024


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Endpoints for URLs, at most `MOST_ENDPOINTS` of them kept."""

    def __init__(
        self, reactor: Any, connect_timeout_seconds: float, https_policy: IPolicyForHTTPS | None = None
    ) -> None:
        self._reactor = reactor
        self._https_policy = https_policy or BrowserLikePolicyForHTTPS()
        self._kept: OrderedDict[tuple[bytes, bytes, int], IStreamClientEndpoint] = OrderedDict()
        self.connect_timeout_seconds = connect_timeout_seconds

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Give the endpoint of a URL's server."""
        key = (uri.scheme, uri.host, uri.port)
        endpoint = self._kept.get(key)
        if endpoint is None:
            endpoint = self._kept[key] = self._make(*key)
            if len(self._kept) > MOST_ENDPOINTS:
                self._kept.popitem(last=False)
        return endpoint

    def _make(self, scheme: bytes, host: bytes, port: int) -> IStreamClientEndpoint:
        name = host.decode("ascii")
        # The transport has a deadline of its own over looking up, connecting and shaking hands.
        timeout = max(1, round(self.connect_timeout_seconds + 1))
        endpoint: IStreamClientEndpoint
        if isIPAddress(name):
            # An address needs no look-up, which would go through a thread.
            endpoint = TCP4ClientEndpoint(self._reactor, name, port, timeout)
        elif isIPv6Address(name):
            endpoint = TCP6ClientEndpoint(self._reactor, name, port, timeout)
        else:
            endpoint = HostnameEndpoint(self._reactor, name, port, timeout)
        if scheme != b"https":
            return endpoint
        return HandshakeEndpoint(wrapClientTLS(self._https_policy.creatorForNetloc(host, port), endpoint))


@implementer(IStreamClientEndpoint)
class HandshakeEndpoint:
    """A TLS endpoint that is connected when the handshake is over, not when it could begin."""

    def __init__(self, wrapped: IStreamClientEndpoint) -> None:
        self._wrapped = wrapped

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires with the factory's protocol, or fails with what the handshake failed with."""
        connecting = cast("Deferred[Any]", self._wrapped.connect(_HandshakeFactory(protocolFactory)))
        return connecting.addCallback(lambda handshake: handshake.completed)


class _HandshakeFactory(Factory):
    noisy = False

    def __init__(self, wrapped: IProtocolFactory) -> None:
        self._wrapped = wrapped

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Handshake(self._wrapped, addr)


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    def __init__(self, factory: IProtocolFactory, address: IAddress | None) -> None:
        self._factory = factory
        self._address = address
        self._protocol: Any = None
        self.completed: Deferred[IProtocol] = Deferred(self._cancelled)

    def handshakeCompleted(self) -> None:
        self._protocol = self._factory.buildProtocol(cast(IAddress, self._address))
        self._protocol.makeConnection(self.transport)
        self.completed.callback(self._protocol)

    def dataReceived(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._protocol is not None:
            self._protocol.connectionLost(reason)
        elif not self.completed.called:
            self.completed.errback(reason)

    def _cancelled(self, completed: Deferred[IProtocol]) -> None:
        cast(Any, self.transport).abortConnection()

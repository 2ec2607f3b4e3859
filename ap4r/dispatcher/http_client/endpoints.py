"""The endpoints of connections, by scheme, host and port, cached so that a call need not build one.

An HTTPS endpoint counts as connected when its handshake is over, so that no byte of a request is ever written to a
peer that is not the expected server.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IAddress, IHandshakeListener, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ap4r.dispatcher.http_client.address_guard import AddressGuard, AddressRefused, Own
from ap4r.dispatcher.http_client.proxy_tunnel import TunnelEndpoint
from ap4r.dispatcher.http_client.resolver import NO_TIMEOUT, GuardedEndpoint, is_local
from ap4r.dispatcher.http_client.tls import Identity, Policy

MOST_ENDPOINTS = 1_024
Check = Callable[[X509 | None], None]


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Endpoints for URLs, at most `MOST_ENDPOINTS` of them cached."""

    def __init__(
        self,
        reactor: Any,
        https_policy: Policy | None = None,
        guard: AddressGuard | None = None,
    ) -> None:
        self._reactor = reactor
        self._guard = guard or AddressGuard(Own(is_local), None)
        self._https_policy = https_policy or Policy(Identity())
        self._kept: OrderedDict[tuple[bytes, bytes, int], IStreamClientEndpoint] = OrderedDict()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a URL's server."""
        key = (uri.scheme, uri.host, uri.port)
        endpoint = self._kept.get(key)
        if endpoint is None:
            endpoint = self._kept[key] = self._make(*key)
            if len(self._kept) > MOST_ENDPOINTS:
                self._kept.popitem(last=False)
        return endpoint

    def _make(self, scheme: bytes, host: bytes, port: int) -> IStreamClientEndpoint:
        endpoint = self._plain(host.decode("ascii"), port)
        if scheme != b"https":
            return endpoint
        return _secured(self._https_policy, host, port, endpoint)

    def _plain(self, host: str, port: int) -> IStreamClientEndpoint:
        return GuardedEndpoint(self._reactor, self._guard, host, port)


class ProxyEndpoints(Endpoints):
    """Endpoints through an HTTP proxy: a tunnel for https, the proxy itself for http.

    :param proxy: `http://host:port`.
    :param authorization: the value of Proxy-Authorization, or empty.
    :param targets: checks the names of the servers behind the proxy; `guard` checks the proxy's own address.
    """

    def __init__(
        self,
        reactor: Any,
        guard: AddressGuard,
        https_policy: Policy | None,
        proxy: str,
        authorization: bytes,
        targets: AddressGuard | None = None,
    ) -> None:
        super().__init__(reactor, https_policy, guard)
        self._proxy = URI.fromBytes(proxy.encode("ascii"))
        self._authorization = authorization
        self._targets = targets

    def _make(self, scheme: bytes, host: bytes, port: int) -> IStreamClientEndpoint:
        problem = self._targets.problem_behind_proxy(host.decode("ascii"), port) if self._targets else None
        if problem is not None:
            return RefusedEndpoint(problem)
        proxy = self._plain(self._proxy.host.decode("ascii"), self._proxy.port)
        if scheme != b"https":
            return proxy
        name = b"[%s]" % host if b":" in host else host
        tunnel = TunnelEndpoint(proxy, b"%s:%d" % (name, port), self._authorization)
        return _secured(self._https_policy, host, port, tunnel)


@implementer(IStreamClientEndpoint)
class RefusedEndpoint:
    """The endpoint of a server that must not be called."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fail with AddressRefused."""
        return fail(AddressRefused(self._problem))


@implementer(IAgentEndpointFactory)
class UnixEndpoints:
    """The endpoint of a UNIX socket, for any URL."""

    def __init__(self, reactor: Any, path: str) -> None:
        self._endpoint = UNIXClientEndpoint(reactor, path, NO_TIMEOUT)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint (IAgentEndpointFactory)."""
        return self._endpoint


def _secured(policy: Policy, host: bytes, port: int, plain: IStreamClientEndpoint) -> HandshakeEndpoint:
    creator = policy.creatorForNetloc(host, port)
    return HandshakeEndpoint(wrapClientTLS(creator, plain), creator.check)


@implementer(IStreamClientEndpoint)
class HandshakeEndpoint:
    """A TLS endpoint that is connected when the handshake is over and the server is verified, not when it could begin.

    :param check: raises for a certificate that is not the server's. It is called here too, although the handshake has
        called it already, as a callback of libraries: no request is written on their word alone."""

    def __init__(self, wrapped: IStreamClientEndpoint, check: Check) -> None:
        self._wrapped = wrapped
        self._check = check

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires with the factory's protocol, or fails with the handshake's error."""
        connecting = cast("Deferred[Any]", self._wrapped.connect(_HandshakeFactory(protocolFactory, self._check)))
        return connecting.addCallback(lambda handshake: handshake.completed)


class _HandshakeFactory(Factory):
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, check: Check) -> None:
        self._wrapped = wrapped
        self._check = check

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Handshake(self._wrapped, addr, self._check)


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    def __init__(self, factory: IProtocolFactory, address: IAddress | None, check: Check) -> None:
        self._factory = factory
        self._address = address
        self._check = check
        self._protocol: Any = None
        self.completed: Deferred[IProtocol] = Deferred(self._cancelled)

    def handshakeCompleted(self) -> None:
        if self.completed.called:
            return
        try:
            self._check(cast(Any, self.transport).getPeerCertificate())
        except Exception:  # noqa: BLE001 - after any error the server is not verified and gets nothing
            self.completed.errback(Failure())
            cast(Any, self.transport).abortConnection()
            return
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

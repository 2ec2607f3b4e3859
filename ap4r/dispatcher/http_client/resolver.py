"""Connects to a host only if its guard allows it: the name is resolved once, and every address is checked."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from ap4r.dispatcher.http_client.address_guard import AddressGuard, AddressRefused, literal_address

#: The name that Twisted gets: it only accepts names that could be registered today, not my_service or a--b.example.
_STAND_IN = "name.invalid"
#: Twisted's own timer counts the time in which the process was blocked. Each call has a deadline that does not, for
#: resolving, connecting and the TLS handshake together, and cancels what is not finished then.
NO_TIMEOUT: Any = None


def is_local(address: str) -> bool:
    """Return whether an address is one of this host's: only those can be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


@implementer(IStreamClientEndpoint)
class GuardedEndpoint:
    """A host and port; nothing is looked up or connected to before `connect`, or if the guard refuses it.

    A connection attempt continues until it succeeds, fails or is cancelled.
    """

    def __init__(self, reactor: Any, guard: AddressGuard, host: str, port: int) -> None:
        self._reactor = reactor
        self._guard = guard
        self._host = host
        self._port = port
        self._literal = literal_address(host)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint); fails with AddressRefused."""
        if self._literal is not None:
            return self._connect_to(self._literal, protocolFactory)
        resolver = _Checked(self._reactor, self._guard, self._host, self._port)
        endpoint = HostnameEndpoint(_Resolving(self._reactor, resolver), _STAND_IN, self._port, NO_TIMEOUT)

        def explained(failure: Failure) -> Failure:
            if resolver.problem is not None:
                return Failure(AddressRefused(resolver.problem))
            if failure.check(DNSLookupError):
                return Failure(DNSLookupError(f"no results for hostname lookup: {self._host}"))
            return failure

        return endpoint.connect(protocolFactory).addErrback(explained)

    def _connect_to(self, address: str, factory: IProtocolFactory) -> Deferred[IProtocol]:
        # An address needs no look-up, which would use a thread.
        problem = self._guard.problem(self._host, [address], self._port)
        if problem is not None:
            return fail(AddressRefused(problem))
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        return cast("Deferred[IProtocol]", kind(self._reactor, address, self._port, NO_TIMEOUT).connect(factory))


@implementer(IHostnameResolver)
class _Checked:
    """Resolves with the reactor's resolver, and returns nothing if the guard refuses one of the addresses."""

    def __init__(self, reactor: Any, guard: AddressGuard, host: str, port: int) -> None:
        self._reactor = reactor
        self._guard = guard
        self._host = host
        self._port = port
        self.problem: str | None = None

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *more: Any, **options: Any
    ) -> IHostResolution:
        """Resolve the host, whatever name is passed here (IHostnameResolver)."""
        addresses: list[IAddress] = []
        checked = self

        @implementer(IResolutionReceiver)
        class ResolutionReceiver:
            @staticmethod
            def resolutionBegan(resolutionInProgress: IHostResolution) -> None:
                resolutionReceiver.resolutionBegan(resolutionInProgress)

            @staticmethod
            def addressResolved(address: IAddress) -> None:
                addresses.append(address)

            @staticmethod
            def resolutionComplete() -> None:
                found = [cast(Any, address).host for address in addresses]
                checked.problem = checked._guard.problem(checked._host, found, checked._port)
                for address in addresses if checked.problem is None else ():
                    resolutionReceiver.addressResolved(address)
                resolutionReceiver.resolutionComplete()

        resolver = self._reactor.nameResolver
        begun: IHostResolution = resolver.resolveHostName(
            ResolutionReceiver(), self._host, portNumber, *more, **options
        )
        return begun


@implementer(IReactorPluggableNameResolver)
class _Resolving:
    """The reactor with another name resolver."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Refuse: the resolver cannot be replaced (IReactorPluggableNameResolver)."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

"""Looks names up with the system's resolver, each in a thread of its own, so that one that hangs delays no other.

Only the system's resolver (getaddrinfo) uses /etc/hosts and nsswitch.conf. It cannot be interrupted, and a
name whose servers do not answer blocks it for 10 to 30 s. So a name is looked up once at a time, a call waits for it
only a moment, and the last result stays in use while a newer look-up has not ended.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

#: A result is used for so long without another look-up, and for so long while another one does not end or fails.
FRESH_SECONDS, STALE_SECONDS = 5.0, 300.0
#: A name is not looked up again for so long after a failure.
FAILED_SECONDS = 2.0
#: A call waits this long for a look-up, and less if many hang; after that the call is not made, and its server is held.
#: The look-up continues, and its result serves the next call.
PATIENCE_SECONDS, LITTLE_PATIENCE_SECONDS = 2.0, 0.25
MANY_HANG = 8
#: Look-ups at once, in a thread each; the last ones are reserved for names that were found before, and for upstreams.
MOST_LOOK_UPS, MOST_UNKNOWN = 200, 160
MOST_NAMES = 10_000

_KINDS: dict[int, Any] = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}
#: Family and address of each result, as `socket.getaddrinfo` returns them.
Found = Sequence[tuple[int, tuple[Any, ...]]]


def look_up(name: str) -> Found:
    """Return the addresses of a name; blocks.

    :raises OSError: it has none, or no server answered.
    """
    return [(family, address) for family, _, _, _, address in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)]


def in_thread(call: Callable[[], None]) -> None:
    """Run a call in a thread that does not prevent the process from ending."""
    Thread(target=call, name="ap4r-name", daemon=True).start()


@dataclass(slots=True)
class _Name:
    found: Found = ()
    found_at: float = float("-inf")
    failed_at: float = float("-inf")
    looking_since: float | None = None
    waiting: dict[_Waiting, None] = field(default_factory=dict)


@implementer(IHostResolution)
class _Waiting:
    """One call that waits for a name."""

    def __init__(self, name: str, resolved: Callable[[Found], None]) -> None:
        self.name = name
        self.timer: Any = None
        self._resolved: Callable[[Found], None] | None = resolved

    def resolve(self, found: Found) -> None:
        """Pass on the result and end the waiting."""
        resolved, self._resolved = self._resolved, None
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if resolved is not None:
            resolved(found)

    def cancel(self) -> None:
        """Stop waiting (IHostResolution)."""
        self.resolve(())


@implementer(IHostnameResolver)
class Names:
    """Resolves names for a reactor.

    :param reactor: provides the time and `callFromThread`.
    """

    def __init__(
        self,
        reactor: Any,
        look_up: Callable[[str], Found] = look_up,
        begin: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self._reactor = reactor
        self._look_up = look_up
        self._begin = begin
        self._names: dict[str, _Name] = {}
        self._looking = 0
        self.preferred: frozenset[str] = frozenset()  #: the upstreams' own: they may use the last threads

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Pass on the addresses of a name, none if it has none or they are not known in time (IHostnameResolver)."""
        kinds = (IPv4Address, IPv6Address) if addressTypes is None else tuple(addressTypes)

        def resolved(found: Found) -> None:
            for family, (host, _, *more) in found:
                kind = _KINDS.get(family)
                if kind is not None and kind in kinds:
                    resolutionReceiver.addressResolved(kind(transportSemantics, host, portNumber, *more))
            resolutionReceiver.resolutionComplete()

        waiting = _Waiting(hostName, resolved)
        resolutionReceiver.resolutionBegan(waiting)
        self._resolve(hostName, waiting)
        return waiting

    def _resolve(self, host: str, waiting: _Waiting) -> None:
        now = self._reactor.seconds()
        name = self._name(host, now)
        if now - name.found_at <= FRESH_SECONDS:
            waiting.resolve(name.found)
            return
        usable = name.found if now - name.found_at <= STALE_SECONDS else ()
        patience_seconds = LITTLE_PATIENCE_SECONDS if self._looking >= MANY_HANG else PATIENCE_SECONDS
        if name.looking_since is None and (now - name.failed_at <= FAILED_SECONDS or not self._look(host, name, now)):
            waiting.resolve(usable)
        elif name.looking_since is None:
            # It has ended already, as one in a test does.
            waiting.resolve(name.found if now - name.found_at <= FRESH_SECONDS else usable)
        elif now - name.looking_since >= patience_seconds:
            waiting.resolve(usable)
        else:
            name.waiting[waiting] = None
            waiting.timer = self._reactor.callLater(patience_seconds, self._give_up, name, waiting, usable)

    def _look(self, host: str, name: _Name, now: float) -> bool:
        is_known = host in self.preferred or now - name.found_at <= STALE_SECONDS
        if self._looking >= (MOST_LOOK_UPS if is_known else MOST_UNKNOWN):
            return False
        self._looking += 1
        name.looking_since = now
        try:
            self._begin(partial(self._work, host))
        except RuntimeError:  # no thread can be started
            self._looked(host, ())
        return True

    def _work(self, host: str) -> None:
        try:
            found = self._look_up(host)
        except (OSError, UnicodeError, ValueError):
            found = ()
        self._reactor.callFromThread(self._looked, host, found)

    def _looked(self, host: str, found: Found) -> None:
        now = self._reactor.seconds()
        self._looking -= 1
        name = self._names[host]
        name.looking_since = None
        if found:
            name.found, name.found_at = found, now
        else:
            name.failed_at = now
        waiting, name.waiting = name.waiting, {}
        usable = found or (name.found if now - name.found_at <= STALE_SECONDS else ())
        for one in waiting:
            one.resolve(usable)

    def _give_up(self, name: _Name, waiting: _Waiting, usable: Found) -> None:
        name.waiting.pop(waiting, None)
        waiting.resolve(usable)

    def _name(self, host: str, now: float) -> _Name:
        name = self._names.pop(host, None) or _Name()
        self._names[host] = name
        for _ in range(2):
            oldest = next(iter(self._names))
            old = self._names[oldest]
            is_over = len(self._names) > MOST_NAMES or now - max(old.found_at, old.failed_at) > STALE_SECONDS
            if old is name or not is_over:
                break
            del self._names[oldest]
            if old.looking_since is not None:
                self._names[oldest] = old
        return name

"""The limit of the ports' connections, so that descriptors are left for deliveries and the store."""

from __future__ import annotations

import resource
from collections import OrderedDict
from typing import Protocol

#: Descriptors that stay free: for each call that may be in flight, one for its connection and one for its successor…
_PER_CALL = 2
#: … and for stores, logs, doorbells, listeners, look-ups of names, files.
_KEPT = 64
_LEAST, _MOST = 16, 10_000


def most_connections(descriptors: int, concurrency: int) -> int:
    """Return how many connections from elsewhere may be open, for a total number of descriptors.

    If there are too few for everything, a few connections are still accepted, because /healthz must answer.
    """
    if descriptors < 0:
        return _MOST
    return max(_LEAST, min(_MOST, descriptors - _PER_CALL * concurrency - _KEPT))


def open_files_limit() -> int:
    """Return how many descriptors this process may have; negative without a limit."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return -1 if soft == resource.RLIM_INFINITY else soft


class ClosableConnection(Protocol):
    """One connection."""

    @property
    def is_busy(self) -> bool:
        """Whether a request of it was admitted and is not answered yet."""

    def drop(self) -> None:
        """Close the connection at once."""


class Connections:
    """The open connections, in the order of the time without an answered request, the longest first.

    If there is one too many, the first that is not busy is closed. That is never an honest one that sends its
    request at once, unless `most` others arrive in the meantime.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.dropped = 0
        self._open: OrderedDict[ClosableConnection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: ClosableConnection) -> bool:
        return connection in self._open

    def opened(self, connection: ClosableConnection) -> None:
        """Add a connection, and close another one if there are too many."""
        self._open[connection] = None
        if len(self._open) > self.most:
            oldest = next((one for one in self._open if not one.is_busy), connection)
            del self._open[oldest]
            self.dropped += 1
            oldest.drop()

    def answered(self, connection: ClosableConnection) -> None:
        """Record that a request of it was answered."""
        if connection in self._open:
            self._open.move_to_end(connection)

    def closed(self, connection: ClosableConnection) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)

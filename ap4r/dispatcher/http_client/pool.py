"""Idle connections, by server, the last used first, each kept for a short time.

It opens no connection.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ap4r.dispatcher.http_client.connection import HttpConnection
from ap4r.dispatcher.http_client.unread_bytes import has_unread

#: A kept connection is closed after this time. Common servers keep theirs for 2 s (gunicorn) and more; a request that
#: meets the server's own closing would be lost without an answer.
KEPT_SECONDS = 1.5
#: The server may have ended a connection that was idle for longer without our having read that yet.
_FRESH_SECONDS = 0.02

Server = tuple[object, bytes, bytes, int]  #: the route, scheme, host, port


class Pool:
    """Keeps idle connections, at most `most` for each server."""

    def __init__(self, clock: IReactorTime, most: int) -> None:
        self._clock = clock
        self.most = most
        self._idle: dict[Server, list[tuple[HttpConnection, float]]] = defaultdict(list)
        self._sweep: IDelayedCall | None = None

    def take(self, server: Server) -> HttpConnection | None:
        """Return a connection that is open as far as can be known, or None."""
        idle = self._idle.get(server)
        now = self._clock.seconds()
        while idle:
            connection, since = idle.pop()
            if connection.lost:
                continue
            if now - since > KEPT_SECONDS or (now - since > _FRESH_SECONDS and _was_ended(connection)):
                _let_go(connection)
                continue
            return connection
        return None

    def keep(self, server: Server, connection: HttpConnection) -> None:
        """Keep a connection that could carry another request."""
        idle = self._idle[server]
        if len(idle) >= self.most:
            _let_go(connection)
            return
        idle.append((connection, self._clock.seconds()))
        if self._sweep is None:
            self._sweep = self._clock.callLater(KEPT_SECONDS, self._let_old_go)

    def close(self) -> None:
        """Close every connection."""
        if self._sweep is not None and self._sweep.active():
            self._sweep.cancel()
        self._sweep = None
        for idle in self._idle.values():
            for connection, _ in idle:
                _let_go(connection)
        self._idle.clear()

    def _let_old_go(self) -> None:
        self._sweep = None
        before = self._clock.seconds() - KEPT_SECONDS
        for server, idle in list(self._idle.items()):
            for connection, since in idle:
                if since <= before:
                    _let_go(connection)
            staying = [entry for entry in idle if entry[1] > before and not entry[0].lost]
            if staying:
                self._idle[server] = staying
            else:
                del self._idle[server]
        if self._idle:
            self._sweep = self._clock.callLater(KEPT_SECONDS / 2, self._let_old_go)


def _let_go(connection: HttpConnection) -> None:
    if not connection.lost:
        cast(Any, connection.transport).loseConnection()


def _was_ended(connection: HttpConnection) -> bool:
    """Return whether the server's end, or unexpected bytes, wait unread in a plain connection."""
    return isinstance(getattr(connection.transport, "getHandle", lambda: None)(), socket.socket) and has_unread(
        connection
    )

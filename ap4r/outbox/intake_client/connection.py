"""Connections to an intake, and reading from them within a deadline."""

from __future__ import annotations

import http.client
import socket
import time

from ap4r.outbox.intake_client.hosts import IntakeHost

_ANSWER_BYTES = 4 * 1024 * 1024


class _Connection(http.client.HTTPConnection):
    """A connection that is closed with the thread that keeps it."""

    def __del__(self) -> None:
        self.close()


class _TlsConnection(http.client.HTTPSConnection):
    """The same, over TLS."""

    def __del__(self) -> None:
        self.close()


class _UnixConnection(_Connection):
    """The same, over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connection_to(host: IntakeHost) -> http.client.HTTPConnection:
    """Return a connection to an intake, not opened yet."""
    if host.path:
        return _UnixConnection(host.path)
    if host.tls:
        return _TlsConnection(host.name, host.port)
    return _Connection(host.name, host.port)


def set_deadline(connection: http.client.HTTPConnection, give_up_at: float) -> None:
    """Set the timeout of the next step of an exchange.

    :raises TimeoutError: no time is left.
    """
    left_seconds = give_up_at - time.monotonic()
    if left_seconds <= 0:
        raise TimeoutError("no answer in time")
    connection.timeout = left_seconds
    if connection.sock is not None:
        connection.sock.settimeout(left_seconds)


def read_answer(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, give_up_at: float) -> bytes:
    """Read an answer within the deadline, however slowly it arrives. Then the connection is free for the next one.

    :raises HTTPException: it is too long, or incomplete.
    """
    parts: list[bytes] = []
    size = 0
    while part := response.read1(65_536):
        size += len(part)
        if size > _ANSWER_BYTES:
            raise http.client.HTTPException("the answer is too long")
        parts.append(part)
        if connection.sock is not None:
            set_deadline(connection, give_up_at)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    # Some versions of read1() leave a completely read answer open, which would block its connection for good.
    response.close()
    return b"".join(parts)

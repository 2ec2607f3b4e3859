"""A pooler of PostgreSQL sessions by transaction, as PgBouncer is one, but meaner: no two transactions of a client need
have the same session, and none is cleaned between them.

It speaks as much of the protocol (https://www.postgresql.org/docs/current/protocol.html) as tells where a transaction
ends. It asks for no password.
"""

from __future__ import annotations

import queue
import select
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

_TICK_SECONDS = 0.05
_PROTOCOL, _TLS, _GSS, _CANCEL = 196_608, 80_877_103, 80_877_104, 80_877_102
_ENDS_WITH_READY = (b"Q", b"S")  # Query and Sync: the server answers each with one ReadyForQuery
_PARAMETERS = {
    "server_version": "15.0",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "integer_datetimes": "on",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
}


class _Gone(Exception):
    """The other side has closed."""


class TransactionPooler:
    """Lends `sessions` sessions of a server to any number of clients, for one transaction at a time."""

    def __init__(self, to_port: int, user: str, database: str, sessions: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lent = 0  #: how often a session was lent
        self._free: queue.Queue[socket.socket] = queue.Queue()
        self.sessions = [_session(to_port, user, database) for _ in range(sessions)]
        for session in self.sessions:
            self._free.put(session)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> TransactionPooler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(5)
        for session in self.sessions:
            session.close()
        self._listener.close()

    def ask_each(self, statement: str) -> set[bytes]:
        """Run one statement that returns one value in every session; return the different answers."""
        answers = set()
        for session in self.sessions:
            session.sendall(_message(b"Q", statement.encode() + b"\0"))
            kind = b""
            while kind != b"Z":
                kind, body = _read(session)
                if kind == b"D":
                    answers.add(body[6:])
        return answers

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], _TICK_SECONDS)[0]:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(_Gone, OSError):
            _greet(client)
            while not self._ended.is_set():
                if select.select([client], [], [], _TICK_SECONDS)[0]:
                    self._lend(client)

    def _lend(self, client: socket.socket) -> None:
        """Pass on both ways until the server says that no transaction is open and nothing is left to be answered."""
        session = self._free.get(timeout=10)
        self.lent += 1
        unanswered = 0
        try:
            while True:
                for end in select.select([client, session], [], [])[0]:
                    kind, body = _read(end)
                    if end is client:
                        if kind == b"X":
                            raise _Gone
                        unanswered += kind in _ENDS_WITH_READY
                        session.sendall(_message(kind, body))
                        continue
                    client.sendall(_message(kind, body))
                    if kind == b"Z":
                        unanswered -= 1
                        if not unanswered and body == b"I":
                            return
        finally:
            self._free.put(session)


def _session(port: int, user: str, database: str) -> socket.socket:
    session = socket.create_connection(("127.0.0.1", port))
    session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fields = b"".join(part.encode() + b"\0" for part in ("user", user, "database", database))
    start = struct.pack("!i", _PROTOCOL) + fields + b"\0"
    session.sendall(struct.pack("!i", len(start) + 4) + start)
    while _read(session)[0] != b"Z":
        pass
    return session


def _greet(client: socket.socket) -> None:
    while True:
        (length,) = struct.unpack("!i", _exactly(client, 4))
        body = _exactly(client, length - 4)
        (code,) = struct.unpack("!i", body[:4])
        if code in (_TLS, _GSS):
            client.sendall(b"N")
            continue
        if code != _PROTOCOL:
            raise _Gone
        break
    parameters = b"".join(
        _message(b"S", name.encode() + b"\0" + value.encode() + b"\0") for name, value in _PARAMETERS.items()
    )
    client.sendall(
        _message(b"R", struct.pack("!i", 0))
        + parameters
        + _message(b"K", struct.pack("!ii", 1, 1))
        + _message(b"Z", b"I")
    )


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _read(end: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(end, 5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], _exactly(end, length - 4)


def _exactly(end: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = end.recv(size)
        if not part:
            raise _Gone
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

"""A server on loopback that keeps what it is asked, over TLS or as a proxy where a test wants that."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.processes import HOST, free_port


class Recorder:
    """Answers 200 to each request, and keeps what came; with `tls` over TLS, with `tunnels` as a proxy.

    :param path: of a UNIX socket.
    :param status: of all answers.
    :param bodies: what is answered, by the path with its query.
    """

    def __init__(
        self,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        tunnels: bool = False,
        bodies: Mapping[str, bytes] | None = None,
        status: int = 200,
    ) -> None:
        self.heads: list[str] = []
        self.peers: list[object] = []
        self._tls, self._tunnels = tls, tunnels
        self._bodies, self._status = bodies or {}, status
        if path is None:
            self.port = free_port()
            self._listener = socket.create_server((HOST, self.port))
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with suppress(OSError), connection:
            if self._tls is None:
                self._answer(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as secured:
                self.peers.append(secured.getpeercert())
                self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while data := connection.recv(65_536):
                head = data.partition(b"\r\n\r\n")[0].decode()
                self.heads.append(head)
                if self._tunnels and head.startswith("CONNECT "):
                    host, _, port = head.split()[1].rpartition(":")
                    with socket.create_connection((host, int(port))) as server:
                        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                        threading.Thread(target=_copy, args=(server, connection), daemon=True).start()
                        _copy(connection, server)
                    return
                body = self._bodies.get(head.split()[1], b"ok")
                connection.sendall(
                    b"HTTP/1.1 %d As Told\r\nContent-Length: %d\r\n\r\n%b" % (self._status, len(body), body)
                )


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)

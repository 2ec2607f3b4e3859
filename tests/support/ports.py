"""Ports at which no server is reached: one that refuses, one where connecting never ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.processes import HOST, free_port


@contextmanager
def refusing_port() -> Iterator[int]:
    """Yield a port where connections are refused, reserved against other uses."""
    with socket.socket() as holder:
        holder.bind((HOST, free_port()))
        yield holder.getsockname()[1]


class StuckPort:
    """A port where connections neither come about nor are refused, until it is opened.

    The kernel lets callers wait when the queue of connections that are not accepted is full.
    """

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((HOST, free_port()))
        self._listener.listen(0)
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)
        self.bytes_received = 0
        self.connections = 0
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The URL of the server that is not there."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def open(self) -> None:
        """Accept the waiting connections, and count what is sent over them; nothing is answered."""
        strangers = {filler.getsockname() for filler in self._fillers}
        for filler in self._fillers:
            filler.close()
        self._thread = threading.Thread(target=self._accept, args=(strangers,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Release everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for filler in self._fillers:
            filler.close()

    def _accept(self, strangers: set[tuple[str, int]]) -> None:
        with suppress(OSError):
            while True:
                connection, address = self._listener.accept()
                if address in strangers:
                    connection.close()
                    continue
                self.connections += 1
                threading.Thread(target=self._count, args=(connection,), daemon=True).start()

    def _count(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while received := connection.recv(65_536):
                self.bytes_received += len(received)

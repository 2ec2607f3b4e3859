"""A way to a server that a test may stop or cut: nothing passes any more, without FIN or RST."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from types import TracebackType

_TICK_SECONDS = 0.05


class Tunnel:
    """Forwards connections of a port of its own to another port."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._ended = threading.Event()
        self._age = 0  # connections of an earlier age are cut
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._open.set()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def stop(self) -> None:
        """Pass nothing through from now on; connections are still accepted, and stay open."""
        self._open.clear()

    def go_on(self) -> None:
        """Pass everything through again. Data in flight arrives late."""
        self._open.set()

    def cut(self) -> None:
        """Lose what every connection carries from now on, for ever, without an error. New ones work."""
        self._age += 1

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], _TICK_SECONDS)[0]:
                near, _ = self._listener.accept()
                thread = threading.Thread(target=self._forward, args=(near,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, near: socket.socket) -> None:
        age = self._age
        with near, suppress(OSError):
            self._open.wait()
            with socket.create_connection(("127.0.0.1", self._to_port), 5) as far:
                other = {near: far, far: near}
                for end in other:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while not self._ended.is_set():
                    for end in select.select([near, far], [], [], _TICK_SECONDS)[0]:
                        sent = end.recv(65_536)
                        self._open.wait()
                        if self._age != age:
                            # Both stay open, as where a router between them has forgotten the connection.
                            self._ended.wait()
                        if not sent or self._ended.is_set():
                            return
                        other[end].sendall(sent)

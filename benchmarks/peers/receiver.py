"""A target that notes when each call came, and holds back its answers where it is asked to."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(ThreadingHTTPServer):
    """Listens on loopback. `POST /hold…` is answered when `release()` is called; other paths at once."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.arrivals: dict[tuple[str, int], list[float]] = defaultdict(list)
        self._released = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait(self, path: str, number: int, count: int, seconds: float) -> bool:
        """Wait until a call has come so often; tell whether it has."""
        give_up_at = time.monotonic() + seconds
        while len(self.arrivals[path, number]) < count:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(0.02)
        return True

    def hold(self) -> None:
        """Keep a call waiting."""
        self._released.wait(200)

    def release(self) -> None:
        """Answer all that is held."""
        self._released.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors of callers that were killed."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Receiver

    def do_POST(self) -> None:
        """Note the call, and answer."""
        at = time.monotonic()
        found = re.search(rb"id=(\d+)", self.rfile.read(int(self.headers["Content-Length"])))
        self.server.arrivals[self.path, int(found[1]) if found else -1].append(at)
        if self.path.startswith("/hold"):
            self.server.hold()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")

    def log_message(self, *_: object) -> None:
        """Log no line for each call."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release()
        server.shutdown()
        server.server_close()

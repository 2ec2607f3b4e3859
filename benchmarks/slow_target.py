"""A sink that answers each call after a delay, thousands at once. Run as a program by `slow.py`.

    python -m benchmarks.slow_target PORT SECONDS

It counts as nginx does (`GET /count`), and only what it has answered.
"""

from __future__ import annotations

import asyncio
import re
import sys

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Slow(asyncio.Protocol):
    """One connection; a caller sends its next request when it has its answer."""

    answered = 0
    in_flight = 0
    most_in_flight = 0
    pause_seconds = 0.1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        """Read a request to its end; answer later, or give the count at once."""
        self._data += data
        head, ended, body = self._data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        if not ended or len(body) < (int(found[1]) if found else 0):
            return
        self._data = b""
        if head.startswith(b"GET"):
            Slow.answered += 1
            text = f"Active connections: {Slow.most_in_flight}\nserver accepts handled requests\n 0 0 {Slow.answered}\n"
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text.encode()))
            return
        Slow.in_flight += 1
        Slow.most_in_flight = max(Slow.most_in_flight, Slow.in_flight)
        asyncio.get_running_loop().call_later(Slow.pause_seconds, self._answer)

    def _answer(self) -> None:
        Slow.answered += 1
        Slow.in_flight -= 1
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Slow, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    Slow.pause_seconds = float(sys.argv[2])
    asyncio.run(serve(int(sys.argv[1])))

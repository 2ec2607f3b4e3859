"""A server with few threads: each call takes one for a while, and waits if none is free.

    python -m benchmarks.balance.server PORT SECONDS PLACES

A call's body says when it was put, `at=…`, by the clock that all processes of a host share. GET tells how many seconds
after that each call was answered, and how many were made again.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ATTEMPT = re.compile(rb"ap4r-attempt: *(\d+)", re.IGNORECASE)
_AT = re.compile(rb"at=([0-9.]+)")
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Found:
    """What was seen of the calls."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.again = 0


class Server(asyncio.Protocol):
    """One connection; a caller sends its next request when it has its answer."""

    def __init__(self, found: Found, places: asyncio.Semaphore, pause_seconds: float) -> None:
        self._found, self._places, self._pause_seconds = found, places, pause_seconds
        self._working: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        """Read a request to its end; work on it, or tell what was found."""
        self._data += data
        head, ended, body = self._data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not ended or len(body) < (int(length[1]) if length else 0):
            return
        self._data = b""
        if head.startswith(b"GET"):
            text = json.dumps(vars(self._found)).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            return
        attempt, at = _ATTEMPT.search(head), _AT.search(body)
        assert attempt is not None
        assert at is not None
        self._found.again += int(attempt[1]) > 1
        self._working = asyncio.get_running_loop().create_task(self._work(float(at[1])))

    async def _work(self, put_at: float) -> None:
        async with self._places:
            await asyncio.sleep(self._pause_seconds)
        self._found.seconds.append(time.monotonic() - put_at)
        if not self._transport.is_closing():
            self._transport.write(_OK)


async def serve(port: int, pause_seconds: float, places: int) -> None:
    """Serve until the process is ended."""
    found, free = Found(), asyncio.Semaphore(places)
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(found, free, pause_seconds), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))

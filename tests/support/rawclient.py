"""A client that sees every byte: it asks on a connection of its own and reads until the server ends it."""

from __future__ import annotations

import http.client
import io
import re
import socket
from dataclasses import dataclass

from tests.support.processes import HOST

_DATE = re.compile(rb"(?mi)^Date: [^\r\n]*")


@dataclass(frozen=True)
class RawAnswer:
    """All that a server sent. `raw` has every Date header alike."""

    raw: bytes
    method: str
    reset: bool = False

    @property
    def status(self) -> int:
        """The status, 0 where there is none."""
        words = self.raw.split(b" ", 2)
        return int(words[1]) if len(words) > 2 and words[0].startswith(b"HTTP/") else 0

    @property
    def text(self) -> str:
        """The body as text, without the framing of chunks."""
        return self._body()[0].decode("utf-8", "replace")

    @property
    def header(self) -> dict[str, str]:
        """The headers by lower-case name."""
        head = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)}

    @property
    def looks_whole(self) -> bool:
        """Return whether a client would accept this as a whole response."""
        return bool(self.status) and not self.reset and self._body()[1]

    def _body(self) -> tuple[bytes, bool]:
        response = http.client.HTTPResponse(_Replay(self.raw), method=self.method)  # type: ignore[arg-type]
        try:
            response.begin()
            return response.read(), True
        except http.client.IncompleteRead as error:
            return error.partial, False
        except http.client.HTTPException:
            return b"", False


class _Replay:
    """What http.client takes for a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def ask_raw(port: int, path: str, *, method: str = "GET", version: str = "1.1", seconds: float = 20.0) -> RawAnswer:
    """Ask once, and read until the server closes the connection."""
    with socket.create_connection((HOST, port), timeout=seconds) as connection:
        connection.sendall(f"{method} {path} HTTP/{version}\r\nHost: testserver\r\nConnection: close\r\n\r\n".encode())
        parts, reset = [], False
        try:
            while part := connection.recv(65_536):
                parts.append(part)
        except ConnectionResetError:
            reset = True
    return RawAnswer(_DATE.sub(b"Date: now", b"".join(parts)), method, reset)

"""Every way in which a target can end a call, from a plain 200 to a reset, each asked for by a word."""

from __future__ import annotations

import email.utils
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.support.client import RESET_ON_CLOSE
from tests.support.probe import let_pass

_REASONS = {200: "OK", 204: "No Content", 301: "Moved Permanently", 404: "Not Found", 500: "Internal Server Error"}
_PATIENCE_SECONDS = 120.0


def is_success(answer: str) -> bool:
    """Return whether a requested answer is a success in the end."""
    return answer.startswith("2") or answer.partition(":")[0] in ("slow", "hold", "hold-long")


class Closed(Exception):
    """The connection is at its end."""


@dataclass
class Gates:
    """What `hold` waits for."""

    _opened: dict[str, threading.Event] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, name: str) -> threading.Event:
        """Return the gate of a name."""
        with self._lock:
            return self._opened.setdefault(name, threading.Event())

    def open_all(self) -> None:
        """Open every gate there is."""
        with self._lock:
            for gate in self._opened.values():
                gate.set()


class Answers:
    """Every way to answer, by the word that asks for it. A status code stands for itself."""

    def __init__(self, connection: socket.socket, gates: Gates) -> None:
        self._connection = connection
        self._gates = gates

    def give(self, answer: str) -> bool:
        """Answer; returns whether the connection may carry another request."""
        word, _, argument = answer.partition(":")
        if word.isdigit():
            return self._status(int(word), argument)
        if word == "429-date":
            at = time.time() + float(argument)
            return self._send(429, f"Retry-After: {email.utils.formatdate(at, usegmt=True)}\r\n")
        way: Callable[[str], bool] = getattr(self, word.replace("-", "_"))
        return way(argument)

    def _status(self, status: int, argument: str) -> bool:
        if status in (204, 304):
            return self._send(status, "", b"", length=False)
        if status in (301, 302, 307, 308):
            return self._send(status, "Location: /elsewhere\r\n")
        return self._send(status, f"Retry-After: {argument}\r\n" if argument else "")

    def _send(self, status: int, headers: str = "", body: bytes = b"answer\n", *, length: bool = True) -> bool:
        if length:
            headers += f"Content-Length: {len(body)}\r\n"
        self._check_that_a_reader_listens()
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'As Asked')}\r\n{headers}\r\n"
        self._connection.sendall(head.encode() + body)
        return True

    def _check_that_a_reader_listens(self) -> None:
        # The first bytes to a caller that is gone are taken by the kernel as if all were well.
        with suppress(BlockingIOError):
            if not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise Closed

    def close(self, _: str) -> bool:
        """Close the connection without a word."""
        return False

    def reset(self, _: str) -> bool:
        """Reset the connection without a word."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return False

    def never(self, _: str) -> bool:
        """Send nothing until the caller has left."""
        self._wait_for_leave()
        return False

    def half_header(self, _: str) -> bool:
        """Send half of a header, and close."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        return False

    def stalled_header(self, _: str) -> bool:
        """Send half of a header, and nothing more."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        return self.never("")

    def half_body(self, _: str) -> bool:
        """Send half of the promised body, and close."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        return False

    def stalled_body(self, _: str) -> bool:
        """Send half of the promised body, and nothing more."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        return self.never("")

    def half_chunks(self, _: str) -> bool:
        """Send a chunked body without its end, and close."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        return False

    def stalled_chunks(self, _: str) -> bool:
        """Send a chunked body without its end, and nothing more."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        return self.never("")

    def endless_body(self, _: str) -> bool:
        """Send a body for as long as the caller takes it."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            self._connection.sendall(b"x" * 65_536)
        return False

    def trickle(self, _: str) -> bool:
        """Send a body byte by byte, so that something always comes and the end never does."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        self._connection.settimeout(0.05)
        while time.monotonic() < give_up_at:
            with suppress(TimeoutError):
                if not self._connection.recv(4096):
                    break
            self._connection.sendall(b"x")
        return False

    def garbage(self, _: str) -> bool:
        """Answer in no language."""
        self._connection.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        return False

    def slow(self, seconds: str) -> bool:
        """Answer 200 after a while."""
        let_pass(float(seconds))
        return self._send(200)

    def hold(self, gate: str) -> bool:
        """Answer 200 when the test opens the gate."""
        self._gates.of(gate).wait(_PATIENCE_SECONDS)
        return self._send(200)

    def hold_long(self, gate: str) -> bool:
        """Answer 200 with 300 KB when the test opens the gate: more than is read at once."""
        self._gates.of(gate).wait(_PATIENCE_SECONDS)
        return self._send(200, body=b"x" * 300_000)

    def _wait_for_leave(self) -> None:
        self._connection.settimeout(_PATIENCE_SECONDS)
        with suppress(OSError):
            while self._connection.recv(65_536):
                pass

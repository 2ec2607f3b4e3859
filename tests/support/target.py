"""A target on raw sockets that answers as its caller's query says, and writes down every request it has read.

`?answer=500,200` answers the first call of a message with 500 and all later ones with 200. The words are the methods
of `tests.support.answers.Answers`; an argument follows a colon: `429:2`, `slow:0.5`, `hold:gate`. Runs as threads of
the test, or as a process of its own: `python -m tests.support.target --port 9000 --ledger file`.
"""

from __future__ import annotations

import argparse
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.answers import Answers, Closed, Gates, is_success
from tests.support.ledger import LedgerFile
from tests.support.probe import wait_until
from tests.support.processes import HOST, free_port

_MOST_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was read in full. `at` is the machine's monotonic clock; header names are in lower case."""

    id: str
    attempt: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    door: str
    connection: int
    answer: str


class ScriptedTarget:
    """The target. Each `door` is a port of its own, so that callers can be distinguished."""

    def __init__(self, ledger: LedgerFile | None = None) -> None:
        self.requests: list[Request] = []
        self._ledger = ledger
        self._gates = Gates()
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._connections: set[socket.socket] = set()
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False

    def __enter__(self) -> ScriptedTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def door(self, name: str = "main", port: int | None = None) -> str:
        """Open a port; returns the URL of the server behind it."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, free_port() if port is None else port))
        listener.listen(512)
        self._listeners.append(listener)
        self._spawn(self._accept, listener, name)
        return f"http://{HOST}:{listener.getsockname()[1]}"

    def open(self, gate: str) -> None:
        """Answer all calls that `hold` at a gate, now or later."""
        self._gates.of(gate).set()

    def requests_for(self, message: str) -> list[Request]:
        """List what came for one message, in order."""
        with self._lock:
            return [request for request in self.requests if request.id == message]

    def ids(self) -> list[str]:
        """List the message id of every request, in order, repeats included."""
        with self._lock:
            return [request.id for request in self.requests]

    def wait_for(self, count: int, *, timeout_seconds: float = 20.0, message: str | None = None) -> list[Request]:
        """Wait until so many requests (of one message, if given) have come, and return them.

        :raises AssertionError: when they have not after `timeout_seconds`.
        """

        def come() -> list[Request]:
            with self._lock:
                return [request for request in self.requests if message in (None, request.id)]

        wait_until(
            lambda: len(come()) >= count,
            f"the target has {count} requests",
            timeout_seconds=timeout_seconds,
            otherwise=lambda: f"it has {len(come())}",
        )
        return come()

    def close(self) -> None:
        """Close every port and connection, and end the threads."""
        self._closing = True
        self._gates.open_all()
        for listener in self._listeners:
            # A thread that waits in accept() is woken by shutdown, not by close.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)

    def _spawn(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket, door: str) -> None:
        number = 0
        while not self._closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            number += 1
            with self._lock:
                self._connections.add(connection)
            self._spawn(self._serve, connection, door, number)

    def _serve(self, connection: socket.socket, door: str, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = Answers(connection, self._gates)
        try:
            unread = b""
            while not self._closing:
                request, unread = self._read(connection, unread, door, number)
                reusable = answers.give(request.answer)
                self._note("answer", request)
                if not reusable or request.headers.get("connection", "").lower() == "close":
                    return
        except (OSError, Closed):
            return
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _note(self, kind: str, request: Request) -> None:
        if self._ledger is not None:
            self._ledger.write(
                kind, id=request.id, attempt=request.attempt, door=request.door, well=is_success(request.answer)
            )

    def _read(self, connection: socket.socket, unread: bytes, door: str, number: int) -> tuple[Request, bytes]:
        def more() -> bytes:
            received = connection.recv(65_536)
            if not received:
                raise Closed
            return received

        while b"\r\n\r\n" not in unread:
            if len(unread) > _MOST_HEAD_BYTES:
                raise Closed
            unread += more()
        head, _, unread = unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        parts, missing = [unread], length - len(unread)
        while missing > 0:
            parts.append(more())
            missing -= len(parts[-1])
        unread = b"".join(parts)
        body, unread = unread[:length], unread[length:]
        message = headers.get("ap4r-message-id", "")
        with self._lock:
            answers = parse_qs(urlsplit(path).query).get("answer", ["200"])[0].split(",")
            answer = answers[min(self._calls[message], len(answers) - 1)]
            self._calls[message] += 1
            request = Request(
                id=message,
                attempt=int(headers.get("ap4r-attempt", "0")),
                method=method,
                path=path,
                headers=headers,
                body=body,
                at=time.monotonic(),
                door=door,
                connection=number,
                answer=answer,
            )
            self.requests.append(request)
        self._note("arrival", request)
        return request, unread


def main() -> None:
    """Run as a process of its own until it is ended."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    with ScriptedTarget(LedgerFile(arguments.ledger)) as target:
        logging.info("listening at %s", target.door(port=arguments.port))
        threading.Event().wait()


if __name__ == "__main__":
    main()

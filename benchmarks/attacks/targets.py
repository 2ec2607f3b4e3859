"""Hostile servers: each kind listens at a port of its own, so that it is an origin of its own, and answers in its way.

None of them sends more than a piece of 64 KiB each 20 ms and connection: a server on loopback could otherwise use up
the processor by itself, which says nothing about who it calls.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from benchmarks.attacks.counts import Counts
from tests.support.processes import HOST
from tests.support.wsdl import WSDL

_PIECE = 65_536
_PAUSE_SECONDS = 0.02
_GIVES_UP_SECONDS = 60.0

Pieces = AsyncIterator[bytes]
_Answer = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
#: What no caller should do: it was still there when the server itself had enough.
STAYED = "CALLER STAYED"


async def _again(first: bytes, piece: bytes, pause_seconds: float = _PAUSE_SECONDS) -> Pieces:
    yield first
    while True:
        yield piece
        await asyncio.sleep(pause_seconds)


async def _all(*pieces: bytes) -> Pieces:
    for piece in pieces:
        yield piece


async def _silence() -> Pieces:
    await asyncio.sleep(_GIVES_UP_SECONDS)
    yield b""


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_BOMB = gzip.compress(bytes(64 * 1024 * 1024))
_GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BOMB)

#: What a server of each kind sends once it has read the head of a request.
ANSWERS: dict[str, Callable[[], Pieces]] = {
    "endless trailers": lambda: _again(_CHUNKED + b"0\r\n", b"X-A: aaaaaaaa\r\n" * (_PIECE // 15)),
    "endless chunk extensions": lambda: _again(_CHUNKED + b"1;", b"a=b;" * (_PIECE // 4)),
    "chunks of one byte": lambda: _again(_CHUNKED, b"1\r\na\r\n" * (_PIECE // 6)),
    "drip-fed body": lambda: _again(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", 0.5),
    "silent server": _silence,
    "huge body": lambda: _again(b"HTTP/1.1 500 Error\r\nContent-Length: 10000000000\r\n\r\n", b"x" * _PIECE),
    "gzip bomb": lambda: _all(_GZIP, _BOMB),
    "garbage head": lambda: _all(b"\x16\x03\x01\x00\xff" * 4_000 + b"\r\n\r\n"),
    "endless head": lambda: _again(b"HTTP/1.1 200 OK\r\n", b"X-A: aaaaaaaa\r\n" * (_PIECE // 15)),
    "endless interim answers": lambda: _again(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * (_PIECE // 28)),
    "close at once": lambda: _all(),
}


class HostileServers:
    """All kinds of hostile servers, and one of expensive descriptions (WSDL)."""

    def __init__(self, counts: Counts) -> None:
        self.ports: dict[str, int] = {}
        self._counts = counts
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Listen."""
        for kind in ANSWERS:
            await self._listen(kind, self._answer)
        await self._listen(DESCRIPTIONS, self._describe)

    async def _listen(self, kind: str, answer: _Answer) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await answer(kind, reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0, family=socket.AF_INET, backlog=512)
        self._servers.append(server)
        self.ports[kind] = server.sockets[0].getsockname()[1]

    async def _answer(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0

        async def send() -> None:
            nonlocal sent
            async for piece in ANSWERS[kind]():
                writer.write(piece)
                sent += len(piece)
                await writer.drain()

        if kind != "close at once":
            await reader.readuntil(b"\r\n\r\n")
        sending, leaving = asyncio.create_task(send()), asyncio.create_task(_leaves(reader))
        done, _ = await asyncio.wait((sending, leaving), timeout=_GIVES_UP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        sent_all = sending in done and sending.exception() is None
        outcome = "answered to its end" if sent_all else "caller left" if done else STAYED
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        self._counts.add(f"target: {kind}", outcome, sent)

    async def _describe(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        document = EXPENSIVE[path.split("?")[0].strip("/")](path)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(document))
        writer.write(document)
        await writer.drain()
        self._counts.add(f"target: {kind}", "read by the caller", len(document))


async def _leaves(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(_PIECE):
            pass


def _doubling(kind: str) -> str:
    """Write types, or groups, each of which has the next one twice: 2 to the 24th elements."""
    parts = []
    for number in range(24):
        if kind == "group":
            twice = f'<x:group ref="t:g{number + 1}"/>' * 2
            parts.append(f'<x:group name="g{number}"><x:sequence>{twice}</x:sequence></x:group>')
        else:
            twice = "".join(f'<x:element name="{name}" type="t:T{number + 1}"/>' for name in "ab")
            parts.append(f'<x:complexType name="T{number}"><x:sequence>{twice}</x:sequence></x:complexType>')
    last = '<x:sequence><x:element name="id" type="x:int"/></x:sequence>'
    if kind == "group":
        top = '<x:complexType><x:sequence><x:group ref="t:g0"/></x:sequence></x:complexType>'
        return "".join(parts) + f'<x:group name="g24">{last}</x:group><x:element name="Top">{top}</x:element>'
    return "".join(parts) + f'<x:complexType name="T24">{last}</x:complexType><x:element name="Top" type="t:T0"/>'


def _entities() -> bytes:
    parts = "".join(f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, 9))
    return f'<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">{parts}]>{WSDL.format(more="").replace("urn:t", "&a8;", 1)}'.encode()


_IMPORT = (
    '<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><import namespace="urn:{0}" location="{0}"/></definitions>'
)
DESCRIPTIONS = "expensive WSDL"
#: Descriptions by the path that they have.
EXPENSIVE: dict[str, Callable[[str], bytes]] = {
    "groups": lambda path: WSDL.format(more=_doubling("group")).replace('element="t:Go"', 'element="t:Top"').encode(),
    "types": lambda path: WSDL.format(more=_doubling("type")).replace('element="t:Go"', 'element="t:Top"').encode(),
    "entities": lambda path: _entities(),
    "imports": lambda path: _IMPORT.format(path + "1").encode(),
    "deep": lambda path: b"<a>" * 100_000,
    "large": lambda path: b"<a>" + b"x" * 900_000 + b"</a>",
}

"""Hostile callers: attacks on the listen address and on the web application.

Each kind comes at a steady, modest rate, one after another of its kind: what is measured is what one of them can do,
not how many of them a processor can send.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ap4r.signing.signing import Secret, sign, webhook_content
from benchmarks.attacks.application import ACTION, HOOK, SENDER_SECRET
from benchmarks.attacks.counts import Counts
from tests.support.processes import HOST

FLOOD = "flood of connections"
_ENDS_SECONDS = 20.0
_PIECE = b"10000\r\n" + b"a" * 65_536 + b"\r\n"


@dataclass(frozen=True)
class Victims:
    """Where the attacked listen, and the token of a tenant who is hostile."""

    listen_port: int
    web_port: int
    token: str


@dataclass(frozen=True)
class Attack:
    """One kind: how often it comes, and one such attack; what it returns is what became of it."""

    kind: str
    every_seconds: float
    make: Callable[[], Awaitable[str]]


class HostileCallers:
    """Every kind of hostile caller."""

    def __init__(self, victims: Victims, counts: Counts) -> None:
        self._victims = victims
        self._counts = counts
        self._numbers, self._amplifying, self._spelling = itertools.count(), itertools.count(), itertools.count()
        self._replays = _replays()
        self._slow: set[asyncio.Task[None]] = set()

    def end_slow(self) -> None:
        """End the slow heads that are still being sent."""
        for task in self._slow:
            task.cancel()

    def attacks(self) -> list[Attack]:
        """List all kinds but the flood, which stays."""
        return [
            Attack("wrong token, spelled in many ways", 0.2, self._wrong_token),
            Attack("slow head", 0.5, self._slow_head),
            Attack("endless body to /healthz", 2.0, lambda: self._endless(b"GET /healthz HTTP/1.1\r\nHost: localhost")),
            Attack("endless body, no token", 2.0, lambda: self._endless(_post(b"/messages"))),
            Attack("endless body, token", 4.0, lambda: self._endless(_post(b"/messages") + self._authorized())),
            Attack("chunks of one byte, token", 4.0, self._tiny_chunks),
            Attack("many names, one twice (539 KB)", 30.0, lambda: self._put(_NAMES)),
            Attack("many small values (500 KB)", 30.0, lambda: self._put(_VALUES)),
            Attack("nested 100,000 deep", 2.0, lambda: self._put(b"[" * 100_000 + b"]" * 100_000)),
            Attack("nested 64 deep, 1,000 times", 30.0, lambda: self._put(_NESTED)),
            Attack("huge headers", 1.0, self._huge_headers),
            Attack("pipelined requests, answers not read", 4.0, self._pipelined),
            Attack("params that grow when written", 4.0, self._amplified),
            Attack("internal path, spelled otherwise", 0.5, self._internal),
            Attack("webhook replayed, spelled otherwise", 0.5, self._replay),
        ]

    async def flood(self, connections: int) -> None:
        """Hold so many connections without a token until cancelled, and replace those that were closed."""
        held: set[asyncio.Task[None]] = set()
        try:
            while True:
                if len(held) < connections:
                    task = asyncio.create_task(self._hold_connection())
                    held.add(task)
                    task.add_done_callback(held.discard)
                await asyncio.sleep(0.02)
        finally:
            for task in held:
                task.cancel()

    async def _hold_connection(self) -> None:
        outcome = "refused"
        try:
            reader, writer = await asyncio.open_connection(HOST, self._victims.listen_port)
            outcome = "open at the end"
            writer.write(b"G")
            while await reader.read(65_536):
                pass
            outcome = "closed by the dispatcher"
        except OSError:
            outcome = "closed by the dispatcher" if outcome != "refused" else outcome
        finally:
            self._counts.add(f"caller: {FLOOD}", outcome)
            if outcome != "refused":
                writer.close()

    async def put(self, message: dict[str, object]) -> str:
        """Put a message as the hostile tenant."""
        return await self._put(json.dumps(message).encode())

    async def _put(self, body: bytes) -> str:
        return await self._ask(_post(b"/messages") + self._authorized() + _length(body))

    def _authorized(self) -> bytes:
        return b"\r\nAuthorization: Bearer " + self._victims.token.encode()

    async def _ask(self, request: bytes, port: int | None = None) -> str:
        """Send a request; return the status that it is answered with, or how it ended without."""
        reader, writer = await asyncio.open_connection(HOST, self._victims.listen_port if port is None else port)
        try:
            writer.write(request)
            async with asyncio.timeout(_ENDS_SECONDS):
                return await _status(reader)
        finally:
            writer.close()

    async def _wrong_token(self) -> str:
        number = next(self._numbers)
        spelled = b"bEaReR"[: 6 - number % 2] + b" " * (number % 7 + 1) + b"token-%d" % number
        name = (b"Authorization", b"authorization", b"AUTHORIZATION", b"Authorization ")[number % 4]
        return await self._ask(
            _post(b"/messages") + b"\r\n" + name + b": " + spelled + _length(b'{"target":"/ignored"}')
        )

    async def _slow_head(self) -> str:
        """Send a byte of a head each second."""
        reader, writer = await asyncio.open_connection(HOST, self._victims.listen_port)
        task = asyncio.create_task(self._drip(reader, writer))
        self._slow.add(task)
        task.add_done_callback(self._slow.discard)
        return "begun"

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = asyncio.ensure_future(_status(reader))
        try:
            for byte in _post(b"/messages"):
                writer.write(bytes([byte]))
                if (await asyncio.wait({answered}, timeout=1.0))[0]:
                    break
            self._counts.add(
                "caller: slow head, as it ends", answered.result() if answered.done() else "stayed to its end"
            )
        finally:
            answered.cancel()
            writer.close()

    async def _endless(self, head: bytes) -> str:
        """Send a chunked body without end, 64 KiB at a time, until the connection is closed."""
        reader, writer = await asyncio.open_connection(HOST, self._victims.listen_port)
        answered = asyncio.ensure_future(_status(reader))
        sent, ends_at = 0, time.monotonic() + _ENDS_SECONDS
        try:
            writer.write(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            while time.monotonic() < ends_at and not answered.done():
                writer.write(_PIECE)
                sent += len(_PIECE)
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await writer.drain()
                await asyncio.sleep(0.02)
            return f"{answered.result()} after {_size(sent)}" if answered.done() else f"still open after {_size(sent)}"
        except OSError:
            return f"closed after {_size(sent)}"
        finally:
            answered.cancel()
            writer.close()

    async def _tiny_chunks(self) -> str:
        return await self._ask(
            _post(b"/messages")
            + self._authorized()
            + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\n \r\n" * 20_000
        )

    async def _huge_headers(self) -> str:
        lines = b"".join(b"\r\nX-%d: %s" % (number, b"y" * 100) for number in range(600))
        return await self._ask(_post(b"/messages") + lines + b"\r\n\r\n")

    async def _pipelined(self) -> str:
        """Send two thousand requests at once, and read nothing for a second."""
        reader, writer = await asyncio.open_connection(HOST, self._victims.listen_port, limit=1024)
        try:
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2_000)
            await asyncio.sleep(1.0)
            async with asyncio.timeout(_ENDS_SECONDS):
                return await _status(reader)
        finally:
            writer.close()

    async def _amplified(self) -> str:
        number = next(self._amplifying)
        values: list[object] = [
            {"k" * 25_000: [1] * 25_000},
            [[[["x" * 10] * 10] * 10] * 50],
            {"a" * 60: {"b" * 60: [0] * 40_000}},
        ]
        body = json.dumps(values[number % len(values)]).encode()
        kind = (b"form", b"json", b"xml", b"yaml", b"multipart")[number % 5]
        head = b"POST /contact?format=" + kind + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close"
        return await self._ask(head + _length(body), self._victims.web_port)

    async def _internal(self) -> str:
        spelling = _SPELLINGS[next(self._spelling) % len(_SPELLINGS)]
        head = b"POST " + spelling + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close"
        return await self._ask(head + _length(b'{"number":"0"}'), self._victims.web_port)

    async def _replay(self) -> str:
        return await self._ask(next(self._replays), self._victims.web_port)


def _replays() -> Iterator[bytes]:
    """Send webhooks, each under twelve spellings of its path."""
    secrets = [Secret.from_text(SENDER_SECRET)]
    body = b'{"paid": 1}'
    paths = (HOOK, HOOK + "/", "//hook", "/HOOK", "/hoo%FFk", "/./hook", "/hook?again=1", HOOK, "/%68ook", "/x/../hook")
    for number in itertools.count():
        event, stamp = f"evt_{number}", str(int(time.time()))
        signature = sign(webhook_content(event, stamp, body), secrets)
        for path in paths:
            yield (
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                f"webhook-id: {event}\r\nwebhook-timestamp: {stamp}\r\nwebhook-signature: {signature}"
            ).encode() + _length(body)


_NAMES = ("{" + ",".join(f'"{number}":0' for number in range(48_000)) + ',"47999":0}').encode()
_VALUES = json.dumps({"target": "/ignored", "json": [[], {}, 0, ""] * 30_000}).encode()
_NESTED = json.dumps(
    {"target": "/ignored", "params": [json.loads('{"a":' * 60 + "1" + "}" * 60)] * 1_000, "format": "xml"}
).encode()
_PATH = ACTION.encode()
_SPELLINGS = (
    _PATH,
    _PATH + b"/",
    b"/" + _PATH,
    _PATH.upper(),
    _PATH.replace(b"s", b"%73"),
    _PATH.replace(b"/a", b"/%FFa"),
    _PATH.replace(b"y", b"y%80"),
    _PATH.replace(b"as", b"a%C3s"),
    _PATH + b"%FE",
    b"/x/.." + _PATH,
    b"/." + _PATH,
    _PATH.replace(b"/arr", b"%2Farr"),
    _PATH.replace(b"i", b"%C4%B1"),
    _PATH + b";x=1",
    _PATH + b"%00",
)


def _post(path: bytes) -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"


def _length(body: bytes) -> bytes:
    return b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _size(count: int) -> str:
    """Write a number of bytes by its magnitude, so that alike outcomes are counted together."""
    return next((f"< {most} MB" for most in (1, 4, 16, 64) if count < most << 20), "≥ 64 MB")


async def _status(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readline()
    except (OSError, ValueError):
        return "closed"
    return line.split(b" ")[1].decode("latin-1") if line.count(b" ") > 1 else "closed"

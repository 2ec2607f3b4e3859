"""Drive a server with every case, bare and through the middleware, and list what is different.

`python -m tests.servers.compare [SERVER …]` prints a table, and each difference below it.
"""

from __future__ import annotations

import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.cases import CASES, MORE, Ask, Case
from tests.servers.known import reason_of
from tests.servers.launch import SERVERS, Server, start, why_missing
from tests.support.processes import HOST, Processes, free_port
from tests.support.rawclient import RawAnswer
from tests.support.sink import FileSink

#: What differs from answer to answer of one server: the time, also where an error page has it.
_TIMES = re.compile(rb"(?mi)^(Date|Expires|Last-Modified): [^\r\n]*")
_WAIT_SECONDS = 4.0
_WAYS = (("bare", False), ("kept", False), ("kept", True))


@dataclass(frozen=True)
class Difference:
    """What was different in one case: its bytes without a message, with one, or what was stored."""

    case: str
    way: str
    text: str

    def __str__(self) -> str:
        return f"{self.case}, {self.way}: {self.text}"


@dataclass
class Result:
    """What one server did."""

    server: str
    missing: str = ""
    cases: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)  #: of the bare application, by case

    @property
    def row(self) -> str:
        """The line of the table."""
        if self.missing:
            return f"{self.server:18} -     {self.missing}"
        new, listed = len(self.new), len(self.differences) - len(self.new)
        return f"{self.server:18} {self.cases:3} cases, {new:2} differences and {listed} listed, {self.seconds:5.1f} s"

    @property
    def new(self) -> list[Difference]:
        """The differences that are not listed."""
        return [one for one in self.differences if not reason_of(self.server, (one.case, one.way))]


def drive(server: Server, folder: Path, cases: Sequence[Case] = (*CASES, *MORE)) -> Result:
    """Start a server, ask every case three times, end it, and return what was different."""
    result = Result(server.name, why_missing(server), len(cases))
    if result.missing:
        return result
    began_at = time.monotonic()
    with Processes(folder) as processes:
        port = free_port()
        process = start(processes, server, port)
        asked: list[tuple[Case, str, Sequence[RawAnswer]]] = []
        for number, case in enumerate(cases):
            names = [f"{number}.{way}" for way in range(len(_WAYS))]
            answers = [ask(port, case, mount, say, name) for (mount, say), name in zip(_WAYS, names, strict=True)]
            result.answers[case.name] = answers[0].raw
            result.differences += _differences(case, answers)
            asked.append((case, names[2], answers))
        result.differences += _ledger(FileSink(folder / "puts.jsonl"), folder, asked)
        if not process.running:
            result.differences.append(Difference("", "the server has ended", process.tail))
    result.seconds = time.monotonic() - began_at
    return result


def ask(port: int, case: Case, mount: str, say: bool, name: str) -> RawAnswer:
    """Write a case's bytes, and read until the server closes the connection."""
    with socket.create_connection((HOST, port), timeout=_WAIT_SECONDS) as connection:
        parts: list[bytes] = []
        ending = "closed"
        requests = [one.bytes_of(mount, say, f"{name}.{place}") for place, one in enumerate(case.asks)]
        try:
            if case.waits:
                for place, request in enumerate(requests):
                    connection.sendall(request)
                    if place + 1 < len(requests) and not _read_one(connection, case.asks[place], parts):
                        break
            else:
                connection.sendall(b"".join(requests))
            if case.half:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                parts.append(part)
                if case.leaves is not None and sum(map(len, parts)) >= case.leaves:
                    return RawAnswer(b"", "GET")
        except ConnectionError:
            ending = "reset"
        except TimeoutError:
            ending = "hangs"
    raw = _TIMES.sub(rb"\1: now", b"".join(parts))
    method = case.asks[0].line.partition(" ")[0]
    return RawAnswer(raw if ending != "hangs" else raw + b"\n(hangs)", method, ending == "reset")


def _read_one(connection: socket.socket, asked: Ask, parts: list[bytes]) -> bool:
    """Read until one response is whole; return whether the connection is kept."""
    while part := connection.recv(65_536):
        parts.append(part)
        data = b"".join(parts)
        head, found, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if found and (body.endswith(b"0\r\n\r\n") or (length and len(body) >= int(length[1]))):
            return not re.search(rb"(?i)\r\nconnection: *close", head)
    return False


def _differences(case: Case, answers: Sequence[RawAnswer]) -> Iterator[Difference]:
    bare = answers[0]
    for way, answer in zip(("without a message", "with a message"), answers[1:], strict=True):
        # Whether a connection is reset, depends on what was on its way when the server closed it.
        if _without_traceback(answer.raw) != _without_traceback(bare.raw):
            yield Difference(case.name, way, f"{_shown(bare)} became {_shown(answer)}")


def _without_traceback(raw: bytes) -> bytes:
    """Leave out of an error page where the error was: through the middleware it has more frames."""
    head, found, _ = raw.partition(b"Traceback (most recent call last)")
    return re.sub(rb"(?i)content-length: \d+", b"", head) if found else raw


def _shown(answer: RawAnswer) -> str:
    raw = answer.raw
    text = repr(raw) if len(raw) < 500 else f"{raw[:300]!r}…{raw[-100:]!r} ({len(raw)} bytes)"
    return text + (" (reset)" if answer.reset else "")


def _ledger(
    sink: FileSink, folder: Path, asked: Sequence[tuple[Case, str, Sequence[RawAnswer]]]
) -> Iterator[Difference]:
    ran = folder / "puts.jsonl.ran"
    called = set(ran.read_text().split()) if ran.exists() else set()
    for case, name, answers in asked:
        is_failure = not re.match(rb"HTTP/1\.[01] [123]", answers[2].raw)
        for place in range(len(case.asks)):
            request = f"{name}.{place}"
            stored = len(sink.stored(request))
            if case.stored is None or (case.leaves is not None and not stored):
                wanted = stored if stored < 2 else 1
            else:
                wanted = int(case.stored and request in called and not is_failure)
            if stored != wanted:
                text = f"{stored} messages instead of {wanted}; {_shown(answers[2])}"
                yield Difference(case.name, "what is stored", text)


def table(results: Sequence[Result]) -> str:
    """Write the table, and below it each difference."""
    lines = [result.row for result in results]
    for result in results:
        for one in result.differences:
            reason = reason_of(result.server, (one.case, one.way))
            lines.append(f"\n{result.server}: {one if not reason else f'{one.case}, {one.way}: listed, for {reason}'}")
    return "\n".join(lines)


def main(names: Sequence[str]) -> int:
    """Drive the servers that are named, or all."""
    results = []
    for name in names or list(SERVERS):
        with tempfile.TemporaryDirectory() as folder:
            try:
                results.append(drive(SERVERS[name], Path(folder)))
            except (AssertionError, OSError) as error:
                results.append(Result(name, f"it could not be driven: {error}"))
        sys.stdout.write(f"{results[-1].row}\n")
        sys.stdout.flush()
    sys.stdout.write(f"\n{table(results)}\n")
    return int(any(result.new for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

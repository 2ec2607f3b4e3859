"""Real dispatchers that take messages over HTTP, each test with a folder, a store and a target of its own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import HOST, Process, Processes, free_port
from tests.support.system import System
from tests.support.target import ScriptedTarget


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; all are ended with the test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture
def target() -> Iterator[ScriptedTarget]:
    """A target in threads of this process."""
    with ScriptedTarget() as scripted:
        yield scripted


@pytest.fixture
def system(processes: Processes, target: ScriptedTarget) -> System:
    """One store, one target and whatever is started around them."""
    return System(processes, target)


@dataclass(frozen=True, slots=True)
class Taker:
    """A dispatcher that takes messages, and where."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        """The URL of its intake."""
        return f"http://{HOST}:{self.port}"

    def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Post to it; return the status and what the JSON or text of the answer says."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", path, body, named)
            answer = connection.getresponse()
            text = answer.read()
            is_json = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(text) if is_json else text.decode()
        finally:
            connection.close()

    def put(self, value: object, **headers: str) -> tuple[int, Any]:
        """Post messages as JSON."""
        return self.post("/messages", json.dumps(value).encode(), **{"Content_Type": "application/json", **headers})


@pytest.fixture
def start_taker(system: System) -> Callable[..., Taker]:
    """Start dispatchers that take messages, all of the test's one store."""

    def start(*arguments: str, name: str = "dispatcher", **environ: str) -> Taker:
        port = free_port()
        listen = f"tcp:{port}:interface={HOST}"
        process = system.processes.twistd_ap4r(
            *("--store", system.url, "--app-url", system.door, "--listen", listen), *arguments, name=name, **environ
        )
        system.processes.wait_until_listening(process, port)
        # Only then does it take signals, too.
        process.wait_for_output("works on")
        return Taker(process, port)

    return start


@pytest.fixture
def taker(start_taker: Callable[..., Taker]) -> Taker:
    """Return a dispatcher that takes messages."""
    return start_taker()

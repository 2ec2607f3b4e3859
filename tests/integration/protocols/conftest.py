"""One dispatcher, and servers of other protocols, for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ap4r
from ap4r.outbox.handle import Handle
from tests.support import callees, storefile
from tests.support.probe import wait_until
from tests.support.processes import HOST, Processes, free_port
from tests.support.system import System
from tests.support.target import ScriptedTarget

ROOM = {"max_body_bytes": 8 * 1024 * 1024, "max_request_bytes": 16 * 1024 * 1024}


class Callees:
    """The servers, a way to call them through the dispatcher, and what they were called with."""

    def __init__(self, system: System, port: int, xmlrpc_port: int, ledger: Path) -> None:
        self.system = system
        self.port = port
        self.xmlrpc = f"http://{HOST}:{xmlrpc_port}/RPC2"
        self._ledger = ledger

    def url(self, path: str) -> str:
        """Return the URL of a path of the servers that speak WSGI."""
        return f"http://{HOST}:{self.port}{path}"

    def called(self, server: str, call: Callable[[Handle], object], count: int = 1) -> list[Any]:
        """Send what `call` asks for; return the values that the server was called with since."""
        before = len(callees.calls(self._ledger, server))
        with ap4r.session(self.system.url, **ROOM) as handle:
            call(handle)
        wait_until(
            lambda: len(callees.calls(self._ledger, server)) >= before + count,
            f"{server} was called",
            timeout_seconds=30,
            otherwise=lambda: f"{self.system.status()} dead: {self.system.dead()}",
        )
        self.system.wait_until_empty()
        return callees.calls(self._ledger, server)[before:]

    def dead(self, call: Callable[[Handle], str]) -> dict[str, Any]:
        """Send a message that is given up; return its dead letter."""
        before = storefile.count(self.system.store, "dead")
        with ap4r.session(self.system.url, **ROOM) as handle:
            id = call(handle)
        wait_until(
            lambda: storefile.count(self.system.store, "dead") > before, "the message is dead", timeout_seconds=40
        )
        return self.system.dead()[id]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callees]:
    """Start everything; all is ended with the module."""
    folder = tmp_path_factory.mktemp("protocols")
    with Processes(folder) as processes, ScriptedTarget() as target:
        system = System(processes, target)
        port, xmlrpc_port = free_port(), free_port()
        ledger = folder / "calls"
        command = (sys.executable, "-W", "ignore", "-m", "tests.support.callees", str(port), str(xmlrpc_port))
        started = processes.start("callees", *command, CALLEES_LEDGER=str(ledger))
        # What a deploy may take is not waited for here.
        waits = {"AP4R_BACKOFF_FIRST_SECONDS": "1", "AP4R_BACKOFF_CAP_SECONDS": "1", "AP4R_CLIENT_ERROR_SECONDS": "0"}
        system.dispatcher(app_url=f"http://{HOST}:{port}", **waits)
        processes.wait_until_listening(started, port)
        yield Callees(system, port, xmlrpc_port, ledger)

"""The database goes away and comes back: those who use it wait and go on by themselves, and no success is a lie."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stores.shop import RECOVERS_SECONDS, Clients, ServerSystem, held_ledger
from tests.support.databases import KINDS, Server
from tests.support.ledger import LedgerFile
from tests.support.probe import hold_for, wait_until
from tests.support.processes import Process, Processes
from tests.support.target import ScriptedTarget
from tests.support.tunnel import Tunnel

pytestmark = pytest.mark.timeout(240)

DATABASE = "shop"
DISPATCHERS = ("dispatcher-1", "dispatcher-2")
#: What a request may take when its store does not answer: the store's deadline, and what a busy machine adds.
REFUSED_SECONDS = 5.0 + 3.0


@pytest.fixture(scope="module", params=sorted(KINDS))
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of this test alone."""
    server = KINDS[request.param]()
    server.start()
    yield server
    server.remove()


class Scene:
    """A stand in full swing, reached through a tunnel: two dispatchers, a web server, six clients."""

    def __init__(self, system: ServerSystem, server: Server, tunnel: Tunnel) -> None:
        self.system, self.server, self.tunnel = system, server, tunnel
        self.dispatchers: list[Process] = [system.launch_dispatcher(name) for name in DISPATCHERS]
        # As many threads in each process as there are clients, so that no request waits for another.
        self.web: Process = system.web("--workers=2", "--worker-class=gthread", "--threads=8")
        system.wait_until_known(*self.dispatchers)
        self.clients = Clients(system)
        self.clients.wait_for_successes()

    @property
    def runs(self) -> bool:
        """Whether every process lives."""
        return self.web.running and all(dispatcher.running for dispatcher in self.dispatchers)

    def go_on(self, measured: Callable[[str], None]) -> None:
        """Hold that all goes on by itself, and that the ledger is right."""
        seen = {name: self.system.arrivals(name) for name in DISPATCHERS}
        began = time.monotonic()
        seconds = self.clients.wait_for_successes()
        wait_until(
            lambda: all(self.system.arrivals(name) > seen[name] for name in DISPATCHERS),
            "both dispatchers deliver again",
            timeout_seconds=RECOVERS_SECONDS,
        )
        delivered = time.monotonic() - began
        statuses = self.clients.stop()
        self.system.wait_until_empty()
        found = held_ledger(self.system)
        assert set(statuses) <= {200, 503}, statuses
        assert self.runs
        for process in (self.web, *self.dispatchers):
            assert "Traceback" not in process.output, process.tail
        measured(
            f"a request succeeded {seconds:.1f} s after the end, both dispatchers delivered after {delivered:.1f} s; "
            f"{dict(statuses)}; {found}"
        )


@pytest.fixture
def scene(processes: Processes, own_server: Server, tmp_path: Path) -> Iterator[Scene]:
    """A shop that is open."""
    own_server.make(DATABASE)
    ledger = LedgerFile(tmp_path / "ledger" / "target.jsonl")
    with Tunnel(own_server.port) as tunnel, ScriptedTarget(ledger) as target:
        url = own_server.url(DATABASE, port=tunnel.port)
        yield Scene(ServerSystem(processes, target, own_server, url, DATABASE), own_server, tunnel)
        processes.end_all()


def test_the_server_is_killed(scene, measured):
    """kill -9 in the middle of the load, and a start: what was acknowledged is delivered, all go on."""
    scene.server.stop(signal.SIGKILL)
    scene.clients.wait_until_refused()
    scene.server.start()
    scene.go_on(measured)


@pytest.mark.slow
def test_the_server_is_killed_again_and_again(scene, measured):
    """Five times kill -9 in the middle of the load, each at another instant of it."""
    for _ in range(5):
        scene.server.stop(signal.SIGKILL)
        scene.clients.wait_until_refused()
        scene.server.start()
        scene.clients.wait_for_successes(50)
    scene.go_on(measured)


@pytest.mark.parametrize("seconds", [6.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_the_server_is_stopped_for_a_while(scene, measured, seconds):
    """A server that is shut down comes back after some seconds, and after a minute: longer than a lease is trusted."""
    scene.server.stop()
    hold_for(seconds, lambda: scene.runs, "all processes run")
    scene.clients.wait_until_refused()
    scene.server.start()
    scene.go_on(measured)


def test_the_way_is_blocked(scene, measured, stalls):
    """Connections carry nothing for a while, without an error: every request is answered within the deadline."""
    scene.tunnel.stop()
    scene.clients.wait_until_refused()
    scene.tunnel.go_on()
    scene.go_on(measured)
    longest = max(asked.seconds for _, asked in scene.clients.answers())
    assert longest < REFUSED_SECONDS + stalls.within(0.0, time.monotonic())
    measured(f"the longest request took {longest:.1f} s")


def test_every_connection_is_cut_without_a_fin(scene, measured, stalls):
    """Connections are lost for ever without an error, with their transactions open; new ones work."""
    scene.tunnel.cut()
    scene.go_on(measured)
    longest = max(asked.seconds for _, asked in scene.clients.answers())
    assert longest < REFUSED_SECONDS + stalls.within(0.0, time.monotonic())
    measured(f"the longest request took {longest:.1f} s")


def test_the_server_hangs(scene, measured):
    """A server that is stopped where it stands (SIGSTOP) and goes on later."""
    scene.server.pause()
    scene.clients.wait_until_refused()
    scene.server.go_on()
    scene.go_on(measured)


def test_no_connection_is_left(scene, measured):
    """Others have taken every connection that the server allows (max_connections), and those of the shop are gone."""
    with scene.server.crowded():
        scene.clients.wait_until_refused()
        hold_for(2.0, lambda: scene.runs, "all processes run")
    scene.go_on(measured)


def test_the_server_turns_read_only(scene, measured):
    """A switch to read-only and back, as in a failover."""
    scene.server.make_read_only(True)
    scene.clients.wait_until_refused()
    hold_for(2.0, lambda: scene.runs, "all processes run")
    scene.server.make_read_only(False)
    scene.go_on(measured)

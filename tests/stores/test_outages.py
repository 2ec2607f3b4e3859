"""The database goes away and comes back: those who use it wait and go on by themselves, and no success is a lie."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.stores.shop import Clients, ServerStand, held_ledger
from tests.support.databases import KINDS, Server
from tests.support.ledger import read_ledger
from tests.support.probe import hold_for, wait_until
from tests.support.processes import Process, Processes
from tests.support.target import ScriptedTarget
from tests.support.tunnel import Tunnel

pytestmark = pytest.mark.timeout(180)

DATABASE = "shop"
DEADLINE_SECONDS = 5.0  #: of each call of the store


@pytest.fixture(scope="module", params=sorted(KINDS))
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that nobody else uses."""
    server = KINDS[request.param]()
    server.start()
    yield server
    server.remove()


class Scene:
    """A stand in full swing, reached through a tunnel."""

    def __init__(self, stand: ServerStand, server: Server, tunnel: Tunnel) -> None:
        self.stand, self.server, self.tunnel = stand, server, tunnel
        self.dispatcher: Process = stand.start_dispatcher()
        self.web: Process = stand.web()
        self.clients = Clients(stand)
        self.clients.wait_for_successes(20)

    def arrivals(self) -> int:
        """Count what the target has received."""
        return len(self.stand.target.ids())

    def go_on(self, measured: Callable[[str], None]) -> None:
        """Hold that all goes on by itself, and that the ledger is right."""
        seconds = self.clients.wait_for_successes(20)
        seen = self.arrivals()
        wait_until(lambda: self.arrivals() > seen, "the dispatcher delivers again", timeout_seconds=30)
        statuses = self.clients.stop()
        self.stand.wait_until_empty()
        found = held_ledger(self.stand)
        assert not found.repeated, str(found)
        assert set(statuses) <= {200, 503}, statuses
        assert self.dispatcher.running and self.web.running
        assert "Traceback" not in self.web.output, self.web.tail
        measured(f"a request succeeded {seconds:.1f} s after the end; {dict(statuses)}; {found}")

    def refused(self) -> int:
        """Count the requests that were told 503."""
        return sum(asked.status == 503 for _, asked in self.clients.answers())


@pytest.fixture
def scene(processes: Processes, own_server: Server) -> Iterator[Scene]:
    """A shop that is open."""
    own_server.make(DATABASE)
    with Tunnel(own_server.port) as tunnel, ScriptedTarget() as unused:
        stand = ServerStand(processes, unused, own_server, own_server.url(DATABASE, port=tunnel.port), DATABASE)
        with ScriptedTarget(stand.ledger_file("target")) as target:
            stand.target = target
            yield Scene(stand, own_server, tunnel)
            processes.end_all()


def test_the_server_is_killed(scene, measured):
    """kill -9 in the middle of the load, and a start: what was acknowledged is delivered, all go on."""
    scene.server.stop(signal.SIGKILL)
    wait_until(lambda: scene.refused() >= 5, "requests are refused")
    scene.server.start()
    scene.go_on(measured)


def test_the_server_is_stopped_for_a_while(scene, measured, pytestconfig):
    """A server that is shut down and comes back after some seconds."""
    scene.server.stop()
    hold_for(6.0, lambda: scene.dispatcher.running, "the dispatcher's life")
    assert scene.refused() >= 5
    scene.server.start()
    scene.go_on(measured)


@pytest.mark.slow
def test_the_server_is_stopped_for_a_minute(scene, measured):
    """A server that is away for a minute, longer than any lease is trusted."""
    scene.server.stop()
    hold_for(60.0, lambda: scene.dispatcher.running, "the dispatcher's life")
    scene.server.start()
    scene.go_on(measured)


def test_the_way_is_cut_without_a_word(scene, measured):
    """Connections that seem to live but carry nothing: every request is answered within the deadline."""
    scene.tunnel.stop()
    stopped_at = time.monotonic()
    wait_until(lambda: scene.refused() >= 6, "requests are refused", timeout_seconds=2 * DEADLINE_SECONDS + 2)
    waited = time.monotonic() - stopped_at
    scene.tunnel.go_on()
    scene.go_on(measured)
    measured(f"six requests were refused {waited:.1f} s after the cut")


def test_the_server_hangs(scene, measured):
    """A server that is stopped where it stands (SIGSTOP) and goes on later."""
    scene.server.pause()
    wait_until(lambda: scene.refused() >= 6, "requests are refused", timeout_seconds=2 * DEADLINE_SECONDS + 2)
    scene.server.go_on()
    scene.go_on(measured)


def test_no_connection_is_left(scene, measured):
    """Others have taken every connection that the server allows, and those of the shop were ended."""
    with scene.server.crowded():
        wait_until(lambda: scene.refused() >= 5, "requests are refused", timeout_seconds=20)
        hold_for(2.0, lambda: scene.dispatcher.running, "the dispatcher's life")
    scene.go_on(measured)


def test_the_server_turns_read_only(scene, measured):
    """A switch to read-only and back, as in a failover."""
    scene.server.make_read_only(True)
    wait_until(lambda: scene.refused() >= 5, "requests are refused", timeout_seconds=20)
    hold_for(2.0, lambda: scene.dispatcher.running, "the dispatcher's life")
    scene.server.make_read_only(False)
    scene.go_on(measured)
    assert read_ledger(scene.stand.ledger)

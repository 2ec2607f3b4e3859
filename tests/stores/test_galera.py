"""Three nodes that hold the same: writers and dispatchers on each, while nodes die, are cut off and come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import ap4r
from ap4r.errors import Ap4rError, StoreUnavailable
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Delivered
from ap4r.storage.store import SettleResult
from tests.stores.invariants import Crowd
from tests.stores.old_lanes import Forgetting, make_full, make_old
from tests.stores.shop import RECOVERS_SECONDS, Clients, ServerSystem, held_ledger
from tests.support.cluster import Cluster
from tests.support.factories import message, messages, put, retry, settle
from tests.support.ledger import LedgerFile
from tests.support.probe import hold_for, wait_until
from tests.support.processes import Process, Processes
from tests.support.target import ScriptedTarget

pytestmark = pytest.mark.timeout(300)

NODES = range(3)
DATABASE = "shop"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster that works."""
    with Cluster() as made:
        yield made


@pytest.fixture
def urls(cluster: Cluster) -> list[str]:
    """Name an empty database three times, each time by another node first."""
    cluster.make(DATABASE)
    return [cluster.url(DATABASE, number) for number in NODES]


class Branch:
    """What works at one node: a dispatcher, a web server, and clients that never stop asking."""

    def __init__(self, number: int, system: ServerSystem) -> None:
        self.system = system
        self.name = f"dispatcher-{number}"
        self.number = number
        self.dispatcher: Process = system.launch_dispatcher(self.name)

    def open(self) -> None:
        """Begin to serve and to ask."""
        options = ("--workers=1", "--worker-class=gthread", "--threads=4")
        self.web: Process = self.system.web(*options, name=f"web-{self.number}")
        self.clients = Clients(self.system, 2, name=f"{self.number}-", answer="slow:0.02")

    def arrivals(self) -> int:
        """Count what its dispatcher has delivered."""
        return self.system.arrivals(self.name)


class Chain:
    """A branch at each node, all on one database, and the cluster they stand on."""

    def __init__(self, cluster: Cluster, branches: list[Branch], measured: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.branches = branches
        self._measured = measured

    def go_on(self, since: float, after: str) -> None:
        """Hold that at every node requests succeed and the dispatcher delivers, by themselves."""
        delivered = [branch.arrivals() for branch in self.branches]
        for branch in self.branches:
            branch.clients.wait_for_successes(5)
        answered = time.monotonic() - since
        wait_until(
            lambda: all(
                branch.arrivals() > before + 5 for branch, before in zip(self.branches, delivered, strict=True)
            ),
            f"every dispatcher delivers {after}",
            timeout_seconds=RECOVERS_SECONDS,
            otherwise=lambda: f"before {delivered}, now {[branch.arrivals() for branch in self.branches]}",
        )
        delivering = time.monotonic() - since
        self._measured(f"{after} all requests succeeded within {answered:.1f} s, all delivered within {delivering:.1f}")

    def lose(self, number: int) -> None:
        """Kill a node, see the others go on, and let it rejoin."""
        since = time.monotonic()
        self.cluster.kill(number)
        self.go_on(since, f"without node {number}, which was killed,")
        since = time.monotonic()
        self.cluster.nodes[number].join()
        self._measured(f"the killed node was a member again after {time.monotonic() - since:.1f} s")
        self.go_on(time.monotonic(), f"with node {number} again")

    def cut_off(self, number: int) -> None:
        """Cut a node off, see the others go on and it refuse, and connect it again."""
        node = self.cluster.nodes[number]
        since = time.monotonic()
        node.cut_off(True)
        wait_until(lambda: not node.is_ready(), "it is not of the primary component", timeout_seconds=30)
        self.go_on(since, f"without node {number}, which was cut off,")
        assert not node.is_ready()
        since = time.monotonic()
        node.cut_off(False)
        node.wait_until_ready()
        self._measured(f"the node that was cut off was a member again after {time.monotonic() - since:.1f} s")
        self.go_on(time.monotonic(), f"with node {number} again")

    def close(self) -> None:
        """Stop asking, wait until all is settled, and hold that the ledger is right."""
        statuses = [branch.clients.stop() for branch in self.branches]
        self.branches[0].system.wait_until_empty()
        found = held_ledger(self.branches[0].system)
        self._measured(f"{sum(statuses, start=type(statuses[0])())}; {found}")
        assert all(set(told) <= {200, 503} for told in statuses), statuses
        for branch in self.branches:
            for process in (branch.dispatcher, branch.web):
                assert process.running, process.tail
                assert "Traceback" not in process.output, process.tail


@pytest.fixture
def chain(cluster: Cluster, processes: Processes, tmp_path: Path, measured: Callable[[str], None]) -> Iterator[Chain]:
    """A shop at each node."""
    cluster.make(DATABASE)
    with ScriptedTarget(LedgerFile(tmp_path / "ledger" / "target.jsonl")) as target:
        branches = [
            Branch(number, ServerSystem(processes, target, cluster, cluster.url(DATABASE, number), DATABASE))
            for number in NODES
        ]
        branches[0].system.wait_until_known(*(branch.dispatcher for branch in branches))
        for branch in branches:
            branch.open()
        yield Chain(cluster, branches, measured)
        processes.end_all()


def test_nodes_die_are_cut_off_and_come_back(chain):
    """Dispatchers whose node dies or is cut off go on with another; nothing is lost, nothing delivered twice."""
    chain.go_on(time.monotonic(), "in the calm")
    chain.lose(2)
    chain.cut_off(1)
    chain.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_node_dies_and_is_cut_off_in_turn(chain):
    """The same for every node, twice."""
    for _ in range(2):
        for number in NODES:
            chain.lose(number)
            chain.cut_off((number + 1) % len(NODES))
    chain.close()


def crowd_on(crowd: Crowd, urls: list[str]) -> None:
    """Put a claimer and two writers on each node."""
    for url in urls:
        crowd.add("claim", 1, [url])
        crowd.add("write", 2, [url])


@pytest.mark.parametrize("seconds", [8.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_writers_and_a_claimer_on_each_node(cluster, urls, opened, tmp_path, measured, seconds):
    """No error reaches a user, nothing is held by two at once: conflicts between nodes are met inside storage."""
    opened(urls[0]).prepare()
    before = cluster.conflicts()
    with Crowd(tmp_path, seconds) as crowd:
        crowd_on(crowd, urls)
        crowd.go()
        found = crowd.wait(seconds + 90)
    measured(f"{found}; {cluster.conflicts() - before} conflicts between nodes")
    assert not found.errors, found.errors[:5]
    found.assert_invariants()


def test_every_lease_while_nodes_are_lost(cluster, urls, opened, tmp_path, measured):
    """While one node is killed and one cut off no lease is ever held by two, and nothing acknowledged is lost."""
    opened(urls[0]).prepare()
    seconds = 30.0
    with Crowd(tmp_path, seconds) as crowd:
        crowd_on(crowd, urls)
        crowd.go()
        hold_for(2.0, lambda: True, "the calm before")
        cluster.kill(0)
        cluster.nodes[0].join()
        cluster.nodes[2].cut_off(True)
        wait_until(lambda: not cluster.nodes[2].is_ready(), "it is not of the primary component", timeout_seconds=30)
        hold_for(3.0, lambda: True, "a while without it")
        cluster.nodes[2].cut_off(False)
        cluster.nodes[2].wait_until_ready()
        found = crowd.wait(seconds + 90)
    measured(f"{found}; errors: {sorted({error['text'][-60:] for error in found.errors})[:6]}")
    found.assert_invariants()
    assert len(found.put) > 100
    left = opened(urls[1]).status()
    assert not left.queues, left


def test_processes_on_all_nodes_make_the_tables_at_once(urls, opened, tmp_path):
    """Those who meet at an empty database, each at another node, make its tables once, and all go on."""
    with Crowd(tmp_path, 1.0) as crowd:
        for url in urls:
            crowd.add("write", 2, [url])
        crowd.go()
        found = crowd.wait(90)
    assert not found.errors, found.errors[:5]
    assert opened(urls[1]).version() is not None
    assert opened(urls[2]).status().oldest_due_seconds >= 0.0


def test_a_message_put_on_one_node_is_claimed_on_another(urls, opened):
    """What was acknowledged by one node is found through the others."""
    writer, claimer = opened(urls[0]), opened(urls[2])
    one = message()
    put(writer, one, now=None)
    claimer.register("far", "far", "1", "")
    found = wait_until(lambda: claimer.claim("far", 10).leases, "it is found")
    assert [lease.message.id for lease in found] == [one.id]


def test_a_store_that_changes_nodes_finds_what_it_has_written(cluster, urls, opened):
    """A lease that one node gave is settled at the next, also where that one has yet to apply what came before."""
    store = opened(urls[0])
    put(store, *messages(3), now=None)
    store.register("one", "one", "1", "")
    cluster.nodes[0].execute("CREATE TABLE large (number INT PRIMARY KEY, text CHAR(200))", DATABASE)
    cluster.nodes[0].execute("INSERT INTO large SELECT seq, REPEAT('x', 200) FROM seq_1_to_60000", DATABASE)
    leases = store.claim("one", 10).leases
    assert len(leases) == 3
    cluster.nodes[0].make_read_only(True)
    try:
        with pytest.raises(StoreUnavailable, match="read-only"):
            put(store, message(), now=None)
        assert settle(store, *((lease, Delivered()) for lease in leases), now=None) == [SettleResult.SETTLED] * 3
    finally:
        cluster.nodes[0].make_read_only(False)


def test_a_lease_that_a_node_has_not_heard_of_is_not_lost(cluster, urls, opened):
    """Behind a proxy one node may claim and another settle: it says that it does not know, and then settles."""
    first, second = opened(urls[0]), opened(urls[1])
    first.register("one", "one", "1", "")
    put(first, *messages(2), message(delivery=Delivery.ONCE), now=None)
    wait_until(lambda: second.status().queues, "the other has heard of the messages")
    cluster.nodes[0].execute("CREATE TABLE late (number INT PRIMARY KEY, text CHAR(200))", DATABASE)
    cluster.nodes[0].execute("INSERT INTO late SELECT seq, REPEAT('x', 200) FROM seq_1_to_60000", DATABASE)
    leases = first.claim("one", 10).leases
    outcomes = [(lease, outcome) for lease, outcome in zip(leases, (Delivered(), retry(), Delivered()), strict=True)]
    assert settle(second, *outcomes, now=None) == [SettleResult.UNKNOWN] * 3
    assert settle(second, *outcomes, now=None) == [SettleResult.SETTLED] * 3
    assert settle(second, *outcomes, now=None) == [SettleResult.LEASE_LOST] * 3


def test_a_queue_is_used_at_one_node_while_another_forgets_it(cluster, urls, opened):
    """Whichever of both is refused by the cluster and begins again, the message arrives."""
    first, second = opened(urls[0]), opened(urls[1])
    first.prepare()
    engine = create_engine(cluster.nodes[0].url(DATABASE), poolclass=NullPool)
    make_full(engine)
    wait_until(lambda: cluster.nodes[1].execute("SELECT 1 FROM ap4r_dead", DATABASE), "the other has heard of them")
    forgetting, sent = Forgetting(second), []
    for number in range(6):
        queue = f"old.{number}"
        make_old(engine, [queue])
        heard = f"SELECT 1 FROM ap4r_lanes WHERE queue = '{queue}'"
        wait_until(lambda heard=heard: cluster.nodes[1].execute(heard, DATABASE), "the other has heard of the queue")
        for forget in (lambda: forgetting.begin(0.7), lambda: None):
            with suppress(Ap4rError, DBAPIError):
                with ap4r.session(urls[0]) as handle, engine.connect() as connection, handle.transaction(connection):
                    one = handle.async_to("/work", queue=queue)
                    forget()
                sent.append(one)
                break
        forgetting.end()
    assert len(sent) == 6
    first.register("one", "one", "1", "")
    assert {lease.message.id for lease in first.claim("one", 100).leases} == set(sent)


def test_a_store_whose_node_has_died_uses_the_next(cluster, urls, opened):
    """A store whose node is gone uses the next one of its URL at the next call, within its deadline."""
    store = opened(urls[1])
    put(store, *messages(3), now=None)
    cluster.kill(1)
    try:
        store.register("one", "one", "1", "")
        assert len(store.claim("one", 10).leases) == 3
    finally:
        cluster.nodes[1].join()

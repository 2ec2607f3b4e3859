"""Three nodes that hold the same: writers and claimers on each, while nodes die, are cut off and come back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.stores.reckoning import Crowd
from tests.support.cluster import Cluster
from tests.support.factories import message, messages, put
from tests.support.probe import hold_for, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster that works."""
    with Cluster() as made:
        yield made


@pytest.fixture
def urls(cluster: Cluster) -> list[str]:
    """Name an empty database three times, each time by another node first."""
    cluster.make("shop")
    return [cluster.url("shop", number) for number in range(3)]


def crowd_on(crowd: Crowd, urls: list[str]) -> None:
    """Put a claimer and two writers on each node."""
    for url in urls:
        crowd.add("claim", 1, [url])
        crowd.add("write", 2, [url])


def test_writers_and_a_claimer_on_each_node(cluster, urls, opened, tmp_path, measured):
    """No error reaches a user, nothing is held by two at once, and conflicts between nodes are few and not seen."""
    opened(urls[0]).prepare()
    before = cluster.conflicts()
    with Crowd(tmp_path, 8.0) as crowd:
        crowd_on(crowd, urls)
        crowd.go()
        found = crowd.wait(90)
    measured(f"{found}; {cluster.conflicts() - before} conflicts between nodes")
    assert not found.errors, found.errors[:5]
    found.assert_all_is_well()


def test_processes_on_all_nodes_make_the_tables_at_once(cluster, urls, opened, tmp_path):
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


def test_nodes_die_are_cut_off_and_come_back(cluster, urls, opened, tmp_path, measured):
    """One is killed and rejoins, one is cut off and rejoins: nothing is lost, nothing held twice, all go on."""
    opened(urls[0]).prepare()
    seconds = 25.0
    with Crowd(tmp_path, seconds) as crowd:
        crowd_on(crowd, urls)
        crowd.go()
        began = time.monotonic()
        hold_for(2.0, lambda: True, "the calm before")
        cluster.kill(2)
        cluster.nodes[2].join()
        rejoined = time.monotonic() - began
        cluster.nodes[1].cut_off(True)
        wait_until(lambda: not cluster.nodes[1].is_ready(), "it is not of the primary component", timeout_seconds=20)
        wait_until(cluster.nodes[0].is_ready, "the others go on", timeout_seconds=20)
        hold_for(3.0, lambda: True, "a while without it")
        cluster.nodes[1].cut_off(False)
        cluster.nodes[1].wait_until_ready()
        measured(f"the killed node was back after {rejoined:.0f} s, all after {time.monotonic() - began:.0f} s")
        found = crowd.wait(seconds + 90)
    measured(f"{found}; first errors: {sorted({error['text'][-60:] for error in found.errors})[:6]}")
    found.assert_all_is_well()
    assert len(found.put) > 100
    left = opened(urls[1]).status()
    assert not left.queues, left


def test_a_dispatcher_goes_on_with_another_node(cluster, urls, opened):
    """A store whose node has died uses the next one of its URL at the next call."""
    store = opened(urls[1])
    put(store, *messages(3), now=None)
    cluster.kill(1)
    try:
        began = time.monotonic()
        store.register("one", "one", "1", "")
        claimed = store.claim("one", 10).leases
        assert len(claimed) == 3
        assert time.monotonic() - began < 5.0
    finally:
        cluster.nodes[1].join()

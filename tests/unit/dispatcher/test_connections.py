"""How many connections the listening address holds, and which one goes where there are too many."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.http_server.connections import Connections, most_connections
from ap4r.dispatcher.http_server.route_rules import RuleBook


class One:
    """A connection."""

    def __init__(self, is_busy=False):
        self.is_busy = is_busy
        self.dropped = False

    def drop(self):
        """Note it."""
        self.dropped = True


@pytest.mark.parametrize(
    ("descriptors", "concurrency", "most"), [(256, 64, 64), (1_024, 64, 832), (64, 64, 16), (-1, 64, 10_000)]
)
def test_descriptors_are_left_for_deliveries(descriptors, concurrency, most):
    """Two for each call that may be in flight, and some for stores, logs and listeners."""
    assert most_connections(descriptors, concurrency) == most


def test_the_oldest_idle_one_goes():
    """Not one whose request was let in, nor one that was answered lately."""
    connections = Connections(3)
    busy, answered, idle, new = One(is_busy=True), One(), One(), One()
    for one in (busy, answered, idle):
        connections.opened(one)
    connections.answered(answered)
    connections.opened(new)
    assert [one.dropped for one in (busy, answered, idle, new)] == [False, False, True, False]
    assert (len(connections), connections.dropped) == (3, 1)


def test_where_all_are_busy_the_new_one_goes():
    """Work that was begun is finished."""
    connections = Connections(2)
    for one in (One(True), One(True)):
        connections.opened(one)
    new = One()
    connections.opened(new)
    assert new.dropped
    connections.closed(new)
    assert len(connections) == 2


def test_a_route_without_rules_does_not_start():
    """Each route declares who may call it, how, and with what body."""
    with pytest.raises(TypeError, match="/metrics declares no rules"):
        RuleBook({"metrics": None}, lambda request: None)

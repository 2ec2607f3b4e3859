"""How many connections the ports hold, and which one goes where there are too many."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ap4r.dispatcher.app_server.request import AppSite
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


class TestThePortOfAnApplication:
    """The connections of `--app` are bounded together with those of the listening address."""

    def setup_method(self):
        self.calls = []
        self.connections = Connections(3)
        self.site = AppSite(Clock(), self.calls.append, lambda call: call(), self.connections)

    def connect(self, data=b""):
        """Open a connection and send something."""
        channel, transport = self.site.buildProtocol(None), StringTransport()
        channel.callLater = Clock().callLater
        transport.abortConnection = lambda: channel.connectionLost(Failure(ConnectionAborted()))
        channel.makeConnection(transport)
        channel.dataReceived(data)
        return channel

    def test_the_oldest_goes_whose_request_is_not_here(self):
        """Not one whose request the application has; one that has sent a part of it is idle too."""
        busy = self.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        part = self.connect(b"GET / HTTP/1.1\r\n")
        idle, new = self.connect(), self.connect()
        assert len(self.calls) == 1
        assert [one in self.connections for one in (busy, part, idle, new)] == [True, False, True, True]
        assert (len(self.connections), self.connections.dropped) == (3, 1)

    def test_what_ends_by_itself_is_forgotten(self):
        """It leaves room."""
        for _ in range(10):
            self.connect().connectionLost(Failure(ConnectionDone()))
        assert (len(self.connections), self.connections.dropped) == (0, 0)


def test_a_route_without_rules_does_not_start():
    """Each route declares who may call it, how, and with what body."""
    with pytest.raises(TypeError, match="/metrics declares no rules"):
        RuleBook({"metrics": None}, lambda request: None)

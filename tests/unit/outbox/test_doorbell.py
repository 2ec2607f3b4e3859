"""The bell: rung once a commit, never waited for, never an error."""

from __future__ import annotations

import os

import pytest

from ap4r.doorbell.address import send_datagram
from ap4r.doorbell.ringer import Doorbell
from ap4r.storage.store import DispatcherStatus, StoreStatus
from tests.support.sink import MemorySink, unavailable


class Bells:
    """A doorbell with a clock, an ear and look-ups that run when the test says so."""

    def __init__(self, *addresses):
        self.now = 1_000.0
        self.rung = []
        self.looks = []
        self.sink = MemorySink()
        self.sink.addresses = list(addresses)
        self.bell = Doorbell(
            self.sink, clock=lambda: self.now, choose=lambda all_: all_[-1], send=self.hear, spawn=self.looks.append
        )

    def hear(self, address):
        """Note a bell."""
        self.rung.append(address)

    def ring(self, after_seconds=0.0):
        """Ring after a while."""
        self.now += after_seconds
        self.bell.ring()

    def look(self):
        """Run the waiting look-up."""
        self.looks.pop(0)()


@pytest.fixture
def bells():
    """Two dispatchers that have hung up bells."""
    return Bells("udp://127.0.0.1:1", "udp://127.0.0.1:2")


def test_the_first_commit_is_heard_as_soon_as_addresses_are_known(bells):
    """The look-up runs beside the request and rings when it is done."""
    bells.ring()
    assert bells.rung == []
    bells.look()
    assert bells.rung == ["udp://127.0.0.1:2"]


def test_each_commit_rings_one_of_them(bells):
    """One for each commit, chosen each time."""
    bells.ring()
    bells.look()
    for _ in range(3):
        bells.ring(after_seconds=0.01)
    assert len(bells.rung) == 4


def test_commits_within_two_milliseconds_ring_once(bells):
    """The dispatcher looks again shortly after a bell, so the others lose nothing."""
    bells.ring()
    bells.look()
    for _ in range(10):
        bells.ring(after_seconds=0.0001)
    assert len(bells.rung) == 1
    bells.ring(after_seconds=0.0011)
    assert len(bells.rung) == 2


def test_addresses_are_kept_for_half_a_minute(bells):
    """Then they are looked up again, and the old ones serve meanwhile."""
    bells.ring()
    bells.look()
    bells.ring(after_seconds=29.9)
    assert bells.looks == []
    bells.sink.addresses = ["udp://127.0.0.1:3"]
    bells.ring(after_seconds=0.2)
    assert bells.rung[-1] == "udp://127.0.0.1:2"
    bells.look()
    bells.ring(after_seconds=1)
    assert bells.rung[-1] == "udp://127.0.0.1:3"


def test_only_one_look_up_is_under_way(bells):
    """However many commits come meanwhile, and however long it takes."""
    for _ in range(5):
        bells.ring(after_seconds=100)
    assert len(bells.looks) == 1


def test_a_new_dispatcher_is_soon_found_without_a_listener():
    """No address is looked for again after 5 s."""
    bells = Bells()
    bells.ring()
    bells.look()
    bells.ring(after_seconds=4.9)
    assert bells.looks == []
    bells.sink.addresses = ["udp://127.0.0.1:1"]
    bells.ring(after_seconds=0.2)
    bells.look()
    assert bells.rung == ["udp://127.0.0.1:1"]


def test_a_failing_look_up_is_not_an_error_and_not_repeated_at_once(bells):
    """The next comes after half a minute."""

    def fail():
        raise unavailable()

    bells.sink.bells = fail
    bells.ring()
    bells.look()
    bells.ring(after_seconds=29)
    assert bells.looks == []
    bells.ring(after_seconds=1.1)
    assert len(bells.looks) == 1


def test_a_bell_that_cannot_be_rung_is_not_an_error(bells):
    """Whatever sending raises."""

    def fail(address):
        raise OSError("no route")

    bells.hear = fail
    bells.bell = Doorbell(bells.sink, clock=lambda: bells.now, send=fail, spawn=lambda look: look())
    bells.ring()
    bells.ring(after_seconds=1)


def test_a_thread_that_cannot_be_started_is_not_an_error(bells):
    """The interpreter may be ending; later it is tried again."""
    started = []

    def spawn(look):
        started.append(look)
        raise RuntimeError("can't start new thread")

    bells.bell = Doorbell(bells.sink, clock=lambda: bells.now, send=bells.hear, spawn=spawn)
    bells.ring()
    bells.ring(after_seconds=31)
    assert len(started) == 2


def test_a_child_looks_for_itself(bells, monkeypatch):
    """A look-up that the parent had under way at the fork does not exist in the child."""
    bells.ring()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    bells.ring()
    assert len(bells.looks) == 2


def test_a_sink_without_bells_has_no_doorbell():
    """Nothing is looked up."""
    bells = Bells()
    bell = Doorbell(object(), spawn=bells.looks.append)
    bell.ring()
    assert bells.looks == []


@pytest.mark.parametrize(
    "address", ["", "nonsense", "tcp://127.0.0.1:1", "udp://127.0.0.1", "udp://localhost:1", "udp://127.0.0.1:x"]
)
def test_an_address_that_could_make_a_writer_wait_is_refused(address):
    """A name would have to be looked up."""
    with pytest.raises((ValueError, OSError)):
        send_datagram(address)


ALIVE = DispatcherStatus("a", "host", "0.1", 1.0, 0, True)
DEAD = DispatcherStatus("b", "host", "0.1", 100.0, 0, False)


@pytest.mark.parametrize(
    ("figures", "warned"),
    [
        (StoreStatus(oldest_due_seconds=61.0), True),
        (StoreStatus(dispatchers=(DEAD,), oldest_due_seconds=61.0), True),
        (StoreStatus(dispatchers=(DEAD, ALIVE), oldest_due_seconds=61.0), False),
        (StoreStatus(oldest_due_seconds=59.0), False),
        (StoreStatus(), False),
    ],
)
def test_undelivered_messages_are_warned_of_once(figures, warned, caplog):
    """Due for a minute, and no dispatcher of that store alive."""
    bells = Bells()
    bells.sink.figures = figures
    for _ in range(3):
        bells.ring(after_seconds=31)
        bells.look()
    assert caplog.text.count("no dispatcher of that store is alive") == int(warned)
    assert "twistd -n ap4r --store memory" in caplog.text or not warned


def test_the_figures_are_looked_at_once_in_half_a_minute():
    """And not at all where a dispatcher has hung up a bell."""
    bells = Bells()
    for _ in range(7):
        bells.ring(after_seconds=5.1)
        bells.look()
    assert bells.sink.looks == 2
    listened = Bells("udp://127.0.0.1:1")
    listened.ring()
    listened.look()
    assert listened.sink.looks == 0

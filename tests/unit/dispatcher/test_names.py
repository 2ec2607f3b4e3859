"""names: each name waits for its own look-up, and for no other; what was found serves while a newer one hangs."""

from __future__ import annotations

import socket

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.task import Clock
from zope.interface import implementer

from ap4r.dispatcher.http_client.name_lookup import (
    FAILED_SECONDS,
    FRESH_SECONDS,
    LITTLE_PATIENCE_SECONDS,
    MANY_HANG,
    MOST_LOOK_UPS,
    MOST_NAMES,
    MOST_UNKNOWN,
    PATIENCE_SECONDS,
    STALE_SECONDS,
    Names,
)


class Reactor(Clock):
    """A clock to which threads may come back."""

    def callFromThread(self, call, *arguments):
        call(*arguments)


@implementer(IResolutionReceiver)
class Receiver:
    """The results of a call."""

    def __init__(self):
        self.addresses = []
        self.is_complete = False

    def resolutionBegan(self, resolution):
        self.resolution = resolution

    def addressResolved(self, address):
        self.addresses.append(address)

    def resolutionComplete(self):
        assert not self.is_complete, "told twice"
        self.is_complete = True

    @property
    def told(self):
        return [address.host for address in self.addresses] if self.is_complete else None


class World:
    """Names whose look-ups end when the test says so."""

    def __init__(self):
        self.reactor = Reactor()
        self.answers = {}
        self.asked = []
        self.hanging = []
        self.names = Names(self.reactor, self.look_up, self.begin)

    def look_up(self, name):
        answer = self.answers.get(name, ())
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(socket.AF_INET6, (one, 0, 0, 0)) if ":" in one else (socket.AF_INET, (one, 0)) for one in answer]

    def begin(self, call):
        self.asked.append(call)
        name = call.args[0]
        if name.startswith("slow"):
            self.hanging.append(call)
        else:
            call()

    def resolve(self, name):
        receiver = Receiver()
        self.names.resolveHostName(receiver, name, 80)
        return receiver

    def let_go(self):
        hanging, self.hanging = self.hanging, []
        for call in hanging:
            call()


@pytest.fixture
def world():
    return World()


def test_all_addresses_of_a_name_are_given(world):
    """Of both kinds, with the port."""
    world.answers["a"] = ["1.1.1.1", "2606:4700::1"]
    assert world.resolve("a").addresses == [
        IPv4Address("TCP", "1.1.1.1", 80), IPv6Address("TCP", "2606:4700::1", 80, 0, 0)
    ]  # fmt: skip


def test_a_name_that_has_none(world):
    """It is not looked up again for a moment."""
    assert [world.resolve("a").told for _ in range(5)] == [[]] * 5
    assert len(world.asked) == 1
    world.answers["a"] = ["1.1.1.1"]
    world.reactor.advance(FAILED_SECONDS + 0.1)
    assert world.resolve("a").told == ["1.1.1.1"]


def test_what_was_found_is_used_for_a_while(world):
    """One look-up for a crowd of calls, and another answer is heard soon."""
    world.answers["a"] = ["1.1.1.1"]
    assert [world.resolve("a").told for _ in range(100)] == [["1.1.1.1"]] * 100
    assert len(world.asked) == 1
    world.answers["a"] = ["2.2.2.2"]
    world.reactor.advance(FRESH_SECONDS + 0.1)
    assert world.resolve("a").told == ["2.2.2.2"]


def test_a_name_that_hangs_waits_for_itself(world):
    """Other names are answered at once, and only one look-up of the name runs, for any number of calls."""
    world.answers |= {"a": ["1.1.1.1"], "slow": ["3.3.3.3"]}
    waiting = [world.resolve("slow") for _ in range(20)]
    assert world.resolve("a").told == ["1.1.1.1"]
    assert len(world.asked) == 2
    world.let_go()
    assert [one.told for one in waiting] == [["3.3.3.3"]] * 20
    assert world.reactor.getDelayedCalls() == []


def test_no_call_waits_for_long(world):
    """A call fails after a moment; later calls fail at once, until the look-up has ended."""
    world.answers["slow"] = ["3.3.3.3"]
    first = world.resolve("slow")
    world.reactor.advance(PATIENCE_SECONDS - 0.1)
    assert first.told is None
    world.reactor.advance(0.1)
    assert first.told == []
    assert world.resolve("slow").told == []
    world.reactor.advance(20.0)
    world.let_go()
    assert world.resolve("slow").told == ["3.3.3.3"]
    assert len(world.asked) == 1


def test_where_many_hang_each_is_waited_for_less(world):
    """So that they do not take the calls that others could make."""
    waiting = [world.resolve(f"slow{number}") for number in range(MANY_HANG + 5)]
    world.reactor.advance(LITTLE_PATIENCE_SECONDS)
    assert [one.told for one in waiting] == [None] * MANY_HANG + [[]] * 5


def test_what_was_found_serves_while_its_name_servers_are_away(world):
    """For five minutes; a failure counts no more than silence."""
    world.answers |= {"slow": ["3.3.3.3"], "a": ["1.1.1.1"]}
    world.resolve("slow")
    world.let_go()
    world.resolve("a")
    world.answers.clear()
    world.reactor.advance(FRESH_SECONDS + 1)
    late = world.resolve("slow")
    world.reactor.advance(PATIENCE_SECONDS)
    assert late.told == ["3.3.3.3"]
    assert world.resolve("slow").told == ["3.3.3.3"]
    assert world.resolve("a").told == ["1.1.1.1"]
    world.reactor.advance(STALE_SECONDS)
    world.let_go()
    assert (world.resolve("slow").told, world.resolve("a").told) == ([], [])


def test_threads_are_bounded_and_kept_for_those_that_are_known(world):
    """Beyond the bound a name is not looked up; names that were found, and upstreams', still are."""
    world.answers |= {"known": ["1.1.1.1"], "app": ["2.2.2.2"], "slow": ["3.3.3.3"]}
    world.names.preferred = frozenset({"app"})
    world.resolve("known")
    for number in range(MOST_LOOK_UPS * 2):
        world.resolve(f"slow{number}")
    assert len(world.hanging) == MOST_UNKNOWN
    assert world.resolve("new").told == []
    world.reactor.advance(FRESH_SECONDS + 1)
    world.answers["known"] = ["4.4.4.4"]
    assert world.resolve("known").told == ["4.4.4.4"]
    assert world.resolve("app").told == ["2.2.2.2"]


def test_a_call_that_gives_up_receives_nothing_more(world):
    """Its deadline may end before."""
    world.answers["slow"] = ["3.3.3.3"]
    one = world.resolve("slow")
    one.resolution.cancel()
    world.let_go()
    assert one.told == []
    assert world.reactor.getDelayedCalls() == []


def test_memory_is_bounded(world):
    """Names without number are forgotten, those that hang are not looked up twice."""
    world.resolve("slow")
    for number in range(MOST_NAMES + 500):
        world.resolve(f"n{number}")
    assert len(world.names._names) <= MOST_NAMES + 1
    assert world.resolve("slow").told is None
    assert len(world.hanging) == 1
    world.let_go()


def test_the_systems_own_resolver_knows_this_host():
    """/etc/hosts counts."""
    reactor, receiver = Reactor(), Receiver()
    Names(reactor, begin=lambda call: call()).resolveHostName(receiver, "localhost", 8000)
    assert set(receiver.told) & {"127.0.0.1", "::1"}

"""store_thread: blocking calls in threads of their own, in order, bounded by a deadline."""

from __future__ import annotations

import threading

import pytest
from twisted.internet.task import Clock

from ap4r.dispatcher.clock.clock_watch import RunningTime
from ap4r.dispatcher.store_worker.store_outage import StoreOutage
from ap4r.dispatcher.store_worker.store_thread import GRACE_SECONDS, OwnThread, StoreThread
from ap4r.errors import StoreUnavailable
from ap4r.events import events
from ap4r.events.bus import Events
from tests.support.memory_store import MemoryStore
from tests.unit.dispatcher.world import Inline


class Bench:
    """A store thread on a fake clock, with a log of what was called and answered."""

    def __init__(self, threads=1):
        self.clock = Clock()
        self.time = RunningTime(self.clock)
        self.workers = Inline(self.clock)
        self.told = []
        heard = Events()
        heard.subscribe(self.told.append)
        outage = StoreOutage("memory", self.clock, heard)
        self.thread = StoreThread(
            MemoryStore(), self.clock, self.workers, outage, deadline_seconds=5.0, threads=threads, time=self.time
        )
        self.called = []
        self.answers = {}

    def run(self, name, **options):
        """Run a call of this name."""

        def call():
            self.called.append(name)
            return name

        self.thread.run(name, call, **options).addBoth(lambda answer: self.answers.__setitem__(name, answer))


def test_a_result_comes_back():
    """And so does what a call raises."""
    bench = Bench()
    bench.run("a")
    assert bench.answers == {"a": "a"}
    failures = []
    bench.thread.run("b", lambda: 1 // 0).addErrback(failures.append)
    assert failures[0].check(ZeroDivisionError)
    assert bench.clock.getDelayedCalls() == []


def test_one_call_at_a_time_in_order():
    """With one thread the others wait for their turn."""
    bench = Bench()
    bench.workers.seconds = 1.0
    for name in "abc":
        bench.run(name)
    assert bench.called == []
    bench.clock.advance(1.0)
    assert bench.called == ["a"]
    bench.clock.pump([1.0, 1.0])
    assert bench.called == ["a", "b", "c"]
    assert list(bench.answers) == ["a", "b", "c"]


def test_several_threads_run_several_calls():
    """As many as there are threads."""
    bench = Bench(threads=2)
    bench.workers.seconds = 1.0
    for name in "abc":
        bench.run(name)
    bench.clock.advance(1.0)
    assert bench.called == ["a", "b"]


def test_urgent_goes_first():
    """A beat does not wait behind claims."""
    bench = Bench()
    bench.workers.seconds = 1.0
    for name in "ab":
        bench.run(name)
    bench.run("beat", urgent=True)
    bench.clock.pump([1.0, 1.0, 1.0])
    assert bench.called == ["a", "beat", "b"]


def test_a_call_that_hangs_is_given_up():
    """After the deadline its result is unknown, and what comes later is ignored."""
    bench = Bench()
    bench.workers.stuck = True
    bench.run("a")
    bench.clock.advance(5.0 + GRACE_SECONDS)
    error = bench.answers["a"].value
    assert isinstance(error, StoreUnavailable)
    assert error.outcome_unknown
    bench.workers.let_go()
    assert bench.answers["a"].value is error


def test_a_call_that_waits_too_long_was_not_made():
    """Its result is known: nothing was done, and nothing will be."""
    bench = Bench()
    bench.workers.stuck = True
    bench.run("a")
    bench.run("b")
    bench.clock.advance(5.0 + GRACE_SECONDS)
    error = bench.answers["b"].value
    assert isinstance(error, StoreUnavailable)
    assert not error.outcome_unknown
    bench.workers.let_go()
    assert bench.called == ["a"]


def test_the_deadline_counts_from_the_turn():
    """Who waited is not given less time."""
    bench = Bench()
    bench.workers.seconds = 4.0
    bench.run("a")
    bench.run("b")
    bench.clock.pump([4.0, 4.0])
    assert bench.answers == {"a": "a", "b": "b"}


@pytest.mark.parametrize("kind", ["same", "other"])
def test_an_outage_ends_when_what_failed_succeeds(kind):
    """On a full disk reads succeed while writes fail: that is no recovery."""
    bench = Bench()
    bench.thread.outage.failed("claim", "disk full", 0.1)
    bench.clock.advance(3.0)
    bench.run("claim" if kind == "same" else "look")
    recovered = [event for event in bench.told if isinstance(event, events.StoreRecovered)]
    assert recovered == ([events.StoreRecovered("memory", 3.0)] if kind == "same" else [])
    assert bench.thread.outage.lasts is (kind == "other")


class _Reactor:
    """Takes what another thread hands over, and keeps it."""

    def __init__(self):
        self.handed = []

    def callFromThread(self, done, *result):
        self.handed.append((threading.current_thread().name, done, result))


class TestOwnThread:
    def test_calls_run_beside_the_reactor_in_order(self):
        """Each result is handed over from the thread, and a stop waits for calls that were asked for before it."""
        reactor = _Reactor()
        thread = OwnThread(reactor, "own")
        thread.start()
        for number in range(5):
            thread.run(lambda number=number: (number, threading.current_thread().name), number)
        thread.stop()
        assert reactor.handed == [("own", number, (True, (number, "own"))) for number in range(5)]

    def test_what_a_call_raises_is_handed_over(self):
        """As a failure, and the next call runs all the same."""
        reactor = _Reactor()
        thread = OwnThread(reactor, "own")
        thread.start()
        thread.run(lambda: 1 / 0, "bad")
        thread.run(lambda: "well", "good")
        thread.stop()
        [(_, _, (succeeded, failure)), (_, _, good)] = reactor.handed
        assert not succeeded
        assert failure.check(ZeroDivisionError)
        assert good == (True, "well")

    def test_it_can_be_stopped_and_started_again(self):
        """A stop without a start does nothing; a second start has a new thread."""
        reactor = _Reactor()
        thread = OwnThread(reactor, "own")
        thread.stop()
        for number in range(2):
            thread.start()
            thread.run(lambda: None, number)
            thread.stop()
        assert [done for _, done, _ in reactor.handed] == [0, 1]


def test_a_standstill_is_not_the_stores_delay():
    """Its thread stood still too: the deadline counts the time in which this process ran."""
    bench = Bench()
    bench.workers.stuck = True
    bench.time.looked(0.0)
    bench.run("a")
    bench.clock.advance(60.0)
    assert bench.answers == {}
    bench.time.looked(60.0)
    bench.clock.advance(4.0)
    bench.time.looked(64.0)
    assert bench.answers == {}
    bench.workers.let_go()
    assert bench.answers == {"a": "a"}


def test_a_store_that_hangs_after_a_standstill_is_given_up():
    """The deadline that is left still passes."""
    bench = Bench()
    bench.workers.stuck = True
    bench.time.looked(0.0)
    bench.run("a")
    bench.clock.advance(60.0)
    for second in range(60, 70):
        bench.time.looked(float(second))
        bench.clock.advance(1.0)
    assert bench.answers["a"].check(StoreUnavailable)

"""loop: a loop that never dies."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ap4r.dispatcher.store_worker.loop import Loop


class Turning:
    """A loop that notes its turns; `script` says what each does: wait so long, None, or an error."""

    def __init__(self, *script):
        self.clock = Clock()
        self.script = list(script)
        self.turns = []
        self.failures = []
        self.holding = None
        self.loop = Loop(self.clock, "turn", self.turn, self)

    def turn_failed(self, doing, failure, wait):
        """Note the failure."""
        self.failures.append((failure.value, wait))

    async def turn(self):
        """Do what the script says, and then wait to be woken."""
        self.turns.append(self.clock.seconds())
        if self.holding is not None:
            await self.holding
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return step


def test_turns_at_the_times_they_ask_for():
    """And not after one that asks for none."""
    turning = Turning(1.0, 2.0)
    turning.loop.start()
    turning.clock.pump([0.5] * 20)
    assert turning.turns == [0.5, 1.5, 3.5]


def test_wake_brings_the_next_turn_forward():
    """A later wake changes nothing."""
    turning = Turning(10.0)
    turning.loop.start()
    turning.clock.advance(0)
    turning.loop.wake(2.0)
    turning.loop.wake(5.0)
    turning.clock.pump([1.0] * 20)
    assert turning.turns == [0.0, 2.0]


def test_a_wake_during_a_turn_is_not_lost():
    """Another turn follows."""
    turning = Turning()
    turning.holding = Deferred()
    turning.loop.start()
    turning.clock.advance(0)
    turning.loop.wake()
    held, turning.holding = turning.holding, None
    held.callback(None)
    turning.clock.advance(0)
    assert len(turning.turns) == 2


def test_errors_are_reported_and_the_loop_goes_on():
    """It waits longer after each, up to a bound, and at once normally again after a success."""
    turning = Turning(*[ValueError(number) for number in range(10)])
    turning.loop.start()
    turning.clock.pump([0.05] * 2_000)
    waits = [wait for _, wait in turning.failures]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]
    assert len(turning.turns) == 11
    turning.script = [ValueError("again")]
    turning.loop.wake()
    turning.clock.pump([0.05] * 10)
    assert turning.failures[-1][1] == 0.1


def test_a_wake_does_not_shorten_the_wait_after_an_error():
    """A storm of bells is no storm of failing calls."""
    turning = Turning(ValueError(), ValueError())
    turning.loop.start()
    turning.clock.advance(0)
    for _ in range(100):
        turning.loop.wake()
        turning.clock.advance(0.0005)
    assert len(turning.turns) == 1


def test_stop_waits_for_the_turn_that_runs():
    """And none follows, whatever wakes it."""
    turning = Turning()
    turning.holding = held = Deferred()
    turning.loop.start()
    turning.clock.advance(0)
    stopped = []
    turning.loop.stop().addCallback(stopped.append)
    assert stopped == []
    held.callback(None)
    assert stopped == [None]
    turning.loop.wake()
    assert turning.clock.getDelayedCalls() == []


def test_stop_of_a_loop_at_rest_is_at_once():
    """Also of one that was never started."""
    for started in (True, False):
        turning = Turning()
        if started:
            turning.loop.start(5.0)
        stopped = []
        turning.loop.stop().addCallback(stopped.append)
        assert stopped == [None]
        assert turning.clock.getDelayedCalls() == []


def test_lateness_is_reported():
    """For how long turns have been tried without success, running ones included."""
    turning = Turning(ValueError(), ValueError(), None)
    assert turning.loop.late_seconds() == 0.0
    turning.loop.start()
    turning.clock.pump([0.0, 0.1, 0.1])
    assert turning.loop.late_seconds() == pytest.approx(0.2)
    turning.clock.advance(0.2)
    assert turning.loop.late_seconds() == 0.0


def test_a_turn_that_is_due_and_has_not_begun_is_late():
    """A health page that is read before the timers run after a standstill tells how long the loop did not turn."""
    turning = Turning(1.0)
    turning.loop.start()
    turning.clock.advance(0)
    turning.clock.rightNow += 30.0
    assert turning.loop.late_seconds() == 29.0
    turning.clock.advance(0)
    assert turning.loop.late_seconds() == 0.0

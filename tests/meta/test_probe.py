"""How the tests wait: for as long as the machine runs, and no longer."""

from __future__ import annotations

import pytest

from tests.support import probe, stalls
from tests.support.starved import starved_seconds


class Machine:
    """A clock that also runs while the test does not sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stands_still = 0.0
        self.starved = 0.0  # of each second that passes

    def starved_seconds(self) -> float:
        """Return for how long something waited for the processor."""
        return self.starved * (self.now - 100.0)

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Sleep, and longer while the machine stands still."""
        self.now += seconds + self.stands_still
        self.stands_still = 0.0


@pytest.fixture
def machine(monkeypatch):
    """A machine whose time is the test's."""
    made = Machine()
    monkeypatch.setattr(probe, "time", made)
    monkeypatch.setattr(stalls, "time", made)
    for module in (probe, stalls):
        monkeypatch.setattr(module, "starved_seconds", made.starved_seconds)
    return made


def test_waiting_ends_in_time(machine):
    """What never comes is waited for as long as was said."""
    with pytest.raises(AssertionError, match="waited 2 s in vain until it comes; nothing"):
        probe.wait_until(lambda: False, "it comes", timeout_seconds=2.0, otherwise=lambda: "nothing")
    assert machine.now == pytest.approx(102.0, abs=0.1)


def test_what_was_late_with_the_machine_is_not_late(machine):
    """A stall of the machine does not count: what is waited for keeps the rest of its time."""
    machine.stands_still = 60.0
    began, come_at = machine.now, machine.now + 62.0
    assert probe.wait_until(lambda: machine.now >= come_at, "it comes", timeout_seconds=5.0)
    assert machine.now - began < 63.0


def test_what_must_hold_is_looked_at_for_as_long(machine):
    """A machine that stands still is no proof that nothing happens."""
    machine.stands_still = 60.0
    looked = []
    probe.hold_for(3.0, lambda: looked.append(machine.now) is None, "it")
    assert len(looked) > 90


def test_a_stall_is_noticed(machine):
    """What stood still is known, for the time that it lasted, also while it lasts."""
    watched = stalls.Stalls()
    machine.now += 0.1
    assert watched.within(0.0, machine.now) == 0.0
    machine.now += 4.0
    assert watched.within(0.0, machine.now) == pytest.approx(4.1)
    assert watched.within(102.0, 103.0) == pytest.approx(1.0)
    watched._found += watched._late_since(machine.now)
    watched._ticked_at = machine.now
    assert watched.within(0.0, machine.now + 1.0) == pytest.approx(4.1)


def test_what_shares_its_processor_has_longer(machine):
    """While others use it up, a quarter of the time counts."""
    machine.starved = 1.0
    with pytest.raises(AssertionError, match="waited 2 s in vain"):
        probe.wait_until(lambda: False, "it comes", timeout_seconds=2.0)
    assert machine.now == pytest.approx(108.0, abs=0.1)


def test_a_processor_that_others_use_is_noticed(machine):
    """What had to wait meanwhile is held to no bound that a quiet machine keeps."""
    machine.starved = 0.5
    watched = stalls.Stalls()
    for _ in range(20):
        machine.now += 0.1
        watched._ticked_at = machine.now
        watched._starved.append((machine.now, machine.starved_seconds()))
    assert watched.within(100.5, 101.5) == pytest.approx(0.5, abs=0.06)


def test_the_kernel_shows_how_long_the_processor_was_away():
    """A number that never falls, where the machine tells it."""
    first = starved_seconds()
    assert 0.0 <= first <= starved_seconds()

"""How the tests wait: for as long as the machine runs, and no longer."""

from __future__ import annotations

import pytest

from tests.support import probe, stalls


class Machine:
    """A clock that goes on while nobody sleeps, too."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stands_still = 0.0

    def monotonic(self) -> float:
        """Tell the time."""
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
    return made


def test_waiting_ends_in_time(machine):
    """What never comes is waited for as long as was said."""
    with pytest.raises(AssertionError, match="waited 2 s in vain until it comes; nothing"):
        probe.wait_until(lambda: False, "it comes", timeout_seconds=2.0, otherwise=lambda: "nothing")
    assert machine.now == pytest.approx(102.0, abs=0.1)


def test_what_was_late_with_the_machine_is_not_late(machine):
    """While the machine stands still nobody can do anything, and what is waited for has the rest of its time."""
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

"""Steps of the wall clock, and standstills of a dispatcher: events that are logged, and nothing else."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support import storefile
from tests.support.probe import let_pass, wait_until
from tests.support.set_clock import set_clock
from tests.support.system import QUICK, System
from tests.support.target import ScriptedTarget

DAY_SECONDS = 86_400.0
#: Nothing but what is tested ends a call.
PATIENT = {**QUICK, "AP4R_TIMEOUT_SECONDS": "60"}
#: Longer than the 14 s after which a dispatcher drops its calls, and shorter than the 20 s after which others may come.
LONG_PAUSE_SECONDS = 16.0


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """The file by which the dispatcher's wall clock is set."""
    file = tmp_path / "clock"
    set_clock(file, 0.0)
    return file


@pytest.mark.parametrize("seconds", [-1.0, -20.0, -3_600.0, -DAY_SECONDS, 1.0, 40.0, DAY_SECONDS])
def test_a_step_of_the_wall_clock_ends_and_stops_nothing(
    clock: Path, system: System, target: ScriptedTarget, seconds: float
):
    """From a second to a day, in either direction: calls in flight end as they would have, new messages are called."""
    door = target.door()
    dispatcher = system.dispatcher(clock=clock, **PATIENT)
    in_flight = system.send(*(f"{door}/work?answer=hold:late,200" for _ in range(5)), delivery="once")
    for message in in_flight:
        target.wait_for(1, message=message)
    set_clock(clock, seconds)
    dispatcher.wait_for_output("the wall clock was set " + ("forwards" if seconds > 0 else "backwards"))
    [fresh, failing] = system.send(f"{door}/work", f"{door}/work?answer=500,200")
    target.wait_for(1, message=fresh)
    # What fails after the step is repeated by the clock as it is now.
    target.wait_for(2, message=failing)
    target.open("late")
    system.wait_until_empty()
    assert [len(target.requests_for(message)) for message in in_flight] == [1] * 5
    assert system.dead() == {}
    dispatcher.send(signal.SIGTERM)
    assert dispatcher.wait(30) == 0


@pytest.mark.timeout(120)
def test_a_dispatcher_that_stood_still_loses_no_answer(system: System, target: ScriptedTarget):
    """Past every deadline, and past the age at which it drops its calls: what has come is read first.

    No other has taken it for dead, so what is answered later counts as well.
    """
    door = target.door()
    dispatcher = system.dispatcher(**{**QUICK, "AP4R_TIMEOUT_SECONDS": "4"})
    [owner] = storefile.owners(system.store)
    answered = system.send(*(f"{door}/work?answer=hold:soon,200" for _ in range(10)), delivery="once")
    [long_answer] = system.send(f"{door}/work?answer=hold-long:soon,200", delivery="once")
    [later] = system.send(f"{door}/work?answer=hold:late,200", delivery="once", timeout_seconds=120)
    for message in (*answered, long_answer, later):
        target.wait_for(1, message=message)
    with storefile.locked(system.store):
        dispatcher.pause()
        let_pass(0.1)
    target.open("soon")
    let_pass(LONG_PAUSE_SECONDS)
    dispatcher.go_on()
    wait_until(
        lambda: set(storefile.leases_of(system.store)) <= {later},
        "what was answered meanwhile is written down",
        otherwise=lambda: dispatcher.tail,
    )
    target.open("late")
    system.wait_until_empty()
    assert system.dead() == {}
    assert len(target.ids()) == 12
    assert storefile.owners(system.store) == [owner]
    assert "stalled for" in dispatcher.output

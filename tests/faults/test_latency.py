"""From the put to the target's door on an idle machine: the doorbell, not the poll, carries a message."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.support.probe import let_pass
from tests.support.stalls import Stalls
from tests.support.system import System
from tests.support.target import ScriptedTarget

SAMPLES = 40
POLL_SECONDS = 5.0
#: Far under the poll, far over what a loaded machine adds: what is held here is the mechanism, not the machine.
MEDIAN_SECONDS = 0.5
ROUNDS = 5
#: Further apart than MEDIAN_SECONDS, so that no single poll brings all of them in time.
DELAYS_SECONDS = (0.3, 0.6, 0.9, 1.2)


def test_the_doorbell_carries_a_message(
    system: System, target: ScriptedTarget, measured: Callable[[str], None], stalls: Stalls
):
    """A message put while nothing else happens reaches the target long before a dispatcher would have looked."""
    system.dispatcher()
    system.send("/work")
    target.wait_for(1)
    took, excess = [], []
    for number in range(SAMPLES):
        let_pass(0.02 + 0.003 * number)
        began_at = time.monotonic()
        [message] = system.send("/work")
        at = target.wait_for(1, message=message)[0].at
        took.append(at - began_at)
        excess.append(at - began_at - stalls.within(began_at, at))
    took.sort()
    measured(
        f"put to request received: median {statistics.median(took) * 1e3:.1f} ms, "
        f"least {took[0] * 1e3:.1f} ms, 95 % {took[int(len(took) * 0.95)] * 1e3:.1f} ms (the commit's fsync included)"
    )
    assert statistics.median(excess) < MEDIAN_SECONDS < POLL_SECONDS / 5


def test_a_due_message_is_called_at_its_time(
    system: System, target: ScriptedTarget, measured: Callable[[str], None], stalls: Stalls
):
    """A delayed message is called when it is due, not before, and long before the next poll."""
    system.dispatcher()
    system.send("/work")
    target.wait_for(1)
    latest, excess = [], []
    # A machine that stands still for a moment spoils one round. A poll that carried the messages would spoil all but
    # the first: a round ends with its last message, so the next would begin right after a poll and wait for another.
    for _ in range(ROUNDS):
        due, began_at = {}, time.monotonic()
        for delay_seconds in DELAYS_SECONDS:
            put_at = time.monotonic()
            [message] = system.send("/work", delay_seconds=delay_seconds)
            due[message] = put_at + delay_seconds
        late = [target.wait_for(1, message=message)[0].at - due_at for message, due_at in due.items()]
        assert min(late) >= -0.001
        latest.append(max(late))
        excess.append(max(late) - stalls.within(began_at, time.monotonic()))
    measured(f"the last of each round called {', '.join(f'{late * 1e3:.0f}' for late in latest)} ms after its time")
    assert statistics.median(excess) < MEDIAN_SECONDS

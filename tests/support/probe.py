"""Wait for something that other processes do, and fail when it does not happen.

The only place in the tests that sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.starved import starved_seconds

Found = TypeVar("Found")

#: How often a condition is looked at.
EVERY_SECONDS = 0.02
#: What one turn counts at most, because a stall of the machine stops all processes.
_TURN_SECONDS = 1.0
#: And while others use up the processor, what is waited for gets this much less done in its time.
_STARVED_PART = 0.75


def wait_until(
    condition: Callable[[], Found],
    what: str,
    *,
    timeout_seconds: float = 10.0,
    every_seconds: float = EVERY_SECONDS,
    otherwise: Callable[[], str] = lambda: "",
) -> Found:
    """Call `condition` until it gives something true, and return that.

    :param what: completes "waited in vain until …".
    :param otherwise: what to tell as well when it never came true.
    :raises AssertionError: when it is still false after `timeout_seconds` in which the machine did not stand still;
        of a time in which others used up the processor, a quarter counts.
    """
    left, before, starved_before = timeout_seconds, time.monotonic(), starved_seconds()
    while True:
        found = condition()
        if found:
            return found
        if left <= 0.0:
            raise AssertionError(f"waited {timeout_seconds:g} s in vain until {what}; {otherwise()}".rstrip("; "))
        time.sleep(every_seconds)
        now, starved = time.monotonic(), starved_seconds()
        passed = now - before
        passed -= _STARVED_PART * min(passed, starved - starved_before)
        left, before, starved_before = left - min(passed, _TURN_SECONDS), now, starved


def hold_for(seconds: float, condition: Callable[[], bool], what: str) -> None:
    """Check for `seconds` that a condition stays true: the proof that something does *not* happen.

    :raises AssertionError: as soon as it is false.
    """
    left, before = seconds, time.monotonic()
    while left > 0.0:
        assert condition(), f"{what} did not hold for {seconds:g} s"
        time.sleep(EVERY_SECONDS)
        now = time.monotonic()
        left, before = left - min(now - before, _TURN_SECONDS), now


def let_pass(seconds: float) -> None:
    """Wait in real time where that is what is tested: a lock that is held, a load that continues."""
    time.sleep(seconds)

"""Monotonic time for the whole reactor: every timer, deadline and loop in the process, Twisted's own included.

Twisted's reactors read the wall clock (`twisted.python.runtime.seconds`), so a step of it ends all deadlines at once,
or stops every timer for as long as the clock went back.
"""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_time(reactor: Any) -> None:
    """Run a reactor on CLOCK_MONOTONIC from now on; calls that are already scheduled keep their remaining time.

    `callLater`, `DelayedCall`, `timeout` and `runUntilCurrent` look `seconds` up on the instance, and so does all code
    that has imported the reactor: HTTP channels, endpoints, LoopingCall, caches. The time in which a machine sleeps
    does not count: nothing on it could run. Calling it again changes nothing.
    """
    before = reactor.seconds
    if before is time.monotonic:
        return
    now = before()
    scheduled = [(call, call.getTime() - now) for call in reactor.getDelayedCalls()]
    reactor.seconds = time.monotonic
    for call, left_seconds in scheduled:
        call.seconds = time.monotonic
        call.reset(max(0.0, left_seconds))

"""The doorbell of a real dispatcher, and what is done without it."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from statistics import median

import pytest

from tests.support import storefile
from tests.support.probe import wait_until


def test_a_path_is_rung(system, target, stalls):
    """A dispatcher with a UNIX socket is rung there; its group may, and the socket goes with it."""
    path = system.processes.folder / "bell"
    process = system.dispatcher("--bell", f"unix:{path}")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    system.send("/warm-up")
    wait_until(lambda: len(target.requests) == 1, "the first is delivered")
    took = []
    for number in range(5):
        began = time.monotonic()
        system.send("/x")
        wait_until(lambda number=number: len(target.requests) == number + 2, "it is delivered")
        ended = time.monotonic()
        took.append(ended - began - stalls.within(began, ended))
    # Without a bell each waits for the next look, 2.5 s in the middle.
    assert median(took) < 0.8, f"no bell was heard: {took}"
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not path.exists()


def test_a_path_that_was_left_over_is_taken(system):
    """What a killed dispatcher left behind keeps no other from starting; one that lives does."""
    path = system.processes.folder / "bell"
    first = system.dispatcher("--bell", f"unix:{path}")
    second = system.dispatcher("--bell", f"unix:{path}", name="second", wait=False)
    assert second.wait(20) == 1
    assert "bell" in second.output
    first.kill()
    assert path.exists()
    system.dispatcher("--bell", f"unix:{path}", name="third")


@pytest.mark.parametrize("bell", ["none", "udp"])
def test_a_lost_bell_costs_at_most_the_poll(system, target, bell, stalls):
    """A message whose bell was lost is found by the next poll, within 5 s."""
    system.dispatcher("--bell", "none" if bell == "none" else "udp:0:interface=127.0.0.1")
    if bell == "udp":
        storefile.move_bells(system.store, "udp://127.0.0.1:9")
    system.send("/x")
    stored_at = time.monotonic()
    wait_until(lambda: target.requests, "it is delivered", timeout_seconds=20)
    at = target.requests[0].at
    assert at - stored_at < 7.0 + stalls.within(stored_at, at)


def test_doctor_reports_that_no_dispatcher_listens(system):
    """Where no doorbell can be reached the doctor says that latency is the poll."""
    system.dispatcher("--bell", "udp:0:interface=127.0.0.1")
    heard = system.processes.ap4r("doctor", AP4R_STORE=system.url).stdout
    assert re.search(r"the doorbell udp://127\.0\.0\.1:\d+ can be reached from this host", heard)
    assert "no doorbell can be reached" not in heard
    storefile.move_bells(system.store, "unix:/nowhere/bell")
    done = system.processes.ap4r("doctor", AP4R_STORE=system.url)
    assert done.returncode == 1
    assert "no doorbell can be reached" in done.stdout
    assert "the doorbell unix:/nowhere/bell cannot be reached from this host" in done.stdout
    assert "5 s" in done.stdout

"""Many dispatchers and writers on one database: no caller sees a conflict, and nothing is claimed twice."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.stores.invariants import Crowd
from tests.stores.shop import RECOVERS_SECONDS
from tests.support import storefile
from tests.support.probe import wait_until
from tests.support.system import System
from tests.support.target import ScriptedTarget

CLAIMERS, WRITERS, PROCESSES = 8, 16, 4


def worked(folder, url, seconds, **members):
    """Run so many members of each role on one database, in as many processes of each; return what they did."""
    with Crowd(folder, seconds) as crowd:
        for _ in range(PROCESSES):
            for role, count in members.items():
                crowd.add(role, count // PROCESSES, [url])
        crowd.go()
        return crowd.wait(seconds + 90)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [10.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_eight_dispatchers_and_sixteen_writers(url, tmp_path, measured, opened, seconds):
    """No error reaches a user, no deadlock surfaces, no message is held by two, and each is delivered once."""
    opened(url).prepare()
    found = worked(tmp_path, url, seconds, claim=CLAIMERS, write=WRITERS)
    measured(f"{found}; {len(found.put) / seconds:.0f} puts/s, {found.claims / seconds:.0f} claims/s")
    assert not found.errors, found.errors[:5]
    found.assert_invariants()
    assert found.lost_leases == 0
    assert len(found.put) > WRITERS, f"hardly anything happened: {found}"
    left = opened(url).status()
    assert not left.queues, left


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [4.0, pytest.param(120.0, marks=pytest.mark.slow)])
def test_what_is_claimed_the_moment_it_is_put(url, tmp_path, measured, opened, seconds):
    """Dispatchers that ask without a pause take each message whole, however fresh: none is overlooked or taken off."""
    opened(url).prepare()
    found = worked(tmp_path, url, seconds, drain=PROCESSES, write=PROCESSES)
    measured(f"{found}; {len(found.put) / seconds:.0f} puts/s")
    assert not found.errors, found.errors[:5]
    found.assert_invariants()
    assert not opened(url).status().queues


@pytest.mark.timeout(300)
@pytest.mark.parametrize("puts", [100, pytest.param(1_000, marks=pytest.mark.slow)])
def test_eight_processes_write_one_file_that_is_drained(processes, tmp_path, measured, puts):
    """Eight processes put into one SQLite file while a dispatcher drains it: no error, and each is delivered once."""
    writers = 8
    with ScriptedTarget() as target:
        system = System(processes, target)
        dispatcher = system.dispatcher(AP4R_LOG_LEVEL="info")
        with Crowd(tmp_path / "crowd", puts) as crowd:
            for _ in range(writers):
                crowd.add("count", 1, [system.url])
            crowd.go()
            found = crowd.wait(240)
        wait_until(
            lambda: storefile.count(system.store, "ready", "scheduled", "leased") == 0,
            "everything is settled",
            timeout_seconds=RECOVERS_SECONDS,
        )
        arrived = Counter(request.id for request in list(target.requests))
    assert not found.errors, found.errors[:5]
    assert len(found.put) == writers * puts
    assert arrived == Counter(found.put)
    assert dispatcher.running and " error " not in dispatcher.output, dispatcher.tail
    measured(f"{found}; {len(found.put) / found.seconds:.0f} puts/s, the slowest put took {found.slowest_put:.2f} s")

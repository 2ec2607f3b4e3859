"""Many dispatchers and writers on one server: nobody is told of a conflict, and nothing is claimed twice."""

from __future__ import annotations

import pytest

from tests.stores.reckoning import Crowd

CLAIMERS, WRITERS, PROCESSES = 8, 16, 4


def contend(url, folder, measured, opened, seconds):
    """Let eight claim and sixteen write, each over connections of its own."""
    opened(url).prepare()
    with Crowd(folder, seconds) as crowd:
        for _ in range(PROCESSES):
            crowd.add("claim", CLAIMERS // PROCESSES, [url])
            crowd.add("write", WRITERS // PROCESSES, [url])
        crowd.go()
        found = crowd.wait(seconds + 60)
    measured(str(found))
    assert not found.errors, found.errors[:5]
    found.assert_all_is_well()
    assert found.lost_leases == 0
    assert len(found.put) > 20 * seconds, f"hardly anything happened: {found}"
    left = opened(url).status()
    assert not left.queues, left


@pytest.mark.timeout(120)
def test_eight_dispatchers_and_sixteen_writers(url, tmp_path, measured, opened):
    """In ten seconds no error reaches a user, no message is held by two, and each is delivered once."""
    contend(url, tmp_path, measured, opened, 10.0)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_same_for_a_minute(url, tmp_path, measured, opened):
    """Neither in a minute."""
    contend(url, tmp_path, measured, opened, 60.0)

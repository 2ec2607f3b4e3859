"""The clock of a store is set: what waits for a repeat waits no longer than was said when it failed."""

from __future__ import annotations

from functools import partial

import pytest

from ap4r.storage.operations.scan_start import ScanStart
from tests.support.databases import KINDS, shared_server
from tests.support.factories import NOW, claim, counts, dispatcher, ids, message, messages, put, retry, settle

STEPS = [-2.0, -60.0, -3_600.0, -86_400.0]


@pytest.fixture(params=["sqlite", *sorted(KINDS)])
def url(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ap4r.db"
    return shared_server(request.param).make("own")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_back_delays_no_repeat(store, step):
    """However far the clock went back; and it is done once."""
    owner = dispatcher(store)
    waiting = messages(3)
    put(store, *waiting)
    leases = claim(store, owner)
    settle(
        store, *((lease, retry(wait_seconds)) for lease, wait_seconds in zip(leases, (5.0, 10.0, 50.0), strict=True))
    )
    now = NOW + step
    for _ in range(3):
        assert claim(store, owner, now=now) == []
    assert ids(claim(store, owner, now=now + 5.1)) == [leases[0].message.id]
    assert ids(claim(store, owner, now=now + 10.1)) == [leases[1].message.id]
    assert claim(store, owner, now=now + 49.0) == []
    assert [lease.attempt for lease in claim(store, owner, now=now + 50.1)] == [2]


def test_another_process_brings_nothing_forward_again(store, opened, url):
    """Each of several dispatchers notices the step."""
    other = opened(url)
    owner, second = dispatcher(store), dispatcher(other, "two")
    put(store, message())
    [lease] = claim(store, owner)
    settle(store, (lease, retry(60.0)))
    assert claim(other, second) == []
    now = NOW - 3_600.0
    for claiming in (partial(claim, store, owner), partial(claim, other, second)) * 2:
        assert claiming(now=now) == []
        assert claiming(now=now + 59.0) == []
    assert len(claim(other, second, now=now + 60.1)) == 1


@pytest.mark.parametrize("step", STEPS)
def test_an_instant_stays_what_it_is(store, step):
    """What was to be delivered at a time of day, or after a delay, is due by the store's clock."""
    owner = dispatcher(store)
    put(store, message(deliver_at=NOW + 30.0), message(delay_seconds=30.0))
    assert claim(store, owner) == []
    assert claim(store, owner, now=NOW + step) == []
    assert claim(store, owner, now=NOW + step + 30.1) == []
    assert len(claim(store, owner, now=NOW + 30.1)) == 2


@pytest.mark.parametrize("step", [*STEPS, 60.0, 86_400.0])
def test_a_step_keeps_no_ready_message_back(store, step, monkeypatch):
    """Also where looking from an index's front is slow: what is stored after a step back stands before its end."""

    def look_near_the_ends_from_now_on(fronts, now, *_):
        fronts._near_until = now + 3_600.0

    monkeypatch.setattr(ScanStart, "scanned", look_near_the_ends_from_now_on)
    owner = dispatcher(store)
    put(store, *messages(5))
    assert len(claim(store, owner)) == 5
    assert claim(store, owner) == []
    put(store, *messages(5), now=NOW + step)
    assert len(claim(store, owner, now=NOW + step)) == 5
    assert counts(store, now=NOW + step)[:2] == (0, 0)

"""Where a look into an index begins: at the front, unless that has been shown to be dear."""

from __future__ import annotations

import pytest

from ap4r.storage.operations import scan_start
from ap4r.storage.operations.scan_start import FRONT, ScanStart

SECOND = 1_000_000


@pytest.fixture
def known(monkeypatch):
    """Return fronts that have read lane 7 up to 100 s, and whose looks take the time that `known.costs` says."""
    made = ScanStart()
    made.took(7, 100 * SECOND, 10)
    made.costs = {}
    made.looks = []

    def timed(look, lane, place):
        made.looks.append(place)
        return made.costs["front" if place == FRONT else "near"]

    monkeypatch.setattr(scan_start, "_timed", timed)
    return made


def look(known, now, seconds, front, near):
    """Read from the front, which takes `seconds`; a trial would show these costs."""
    known.looks.clear()
    known.costs = {"front": front, "near": near}
    known.took(7, 100 * SECOND, 10)
    known.scanned(now, seconds, lambda lane, place: None)


def test_a_quick_look_is_no_reason_for_a_trial(known):
    """What is quick is left as it is."""
    look(known, 10.0, 0.001, 9.0, 0.001)
    assert known.looks == [] and not known.is_slow(10.0)


def test_a_dear_front_is_left_for_a_time(known):
    """Where the front is what costs, looks begin near the last end for a while, and then at the front again."""
    look(known, 10.0, 0.5, 0.4, 0.001)
    assert known.is_slow(10.1) and known.is_slow(19.9) and not known.is_slow(20.1)
    assert known.begin(7) == 99 * SECOND and known.begin(8) == FRONT


def test_a_busy_machine_is_not_taken_for_a_dear_front(known):
    """Where both places cost the same the front is kept, and tried again only after a second."""
    look(known, 10.0, 0.5, 0.4, 0.35)
    assert not known.is_slow(10.1)
    look(known, 10.5, 0.5, 0.4, 0.001)
    assert known.looks == []
    look(known, 11.5, 0.5, 0.4, 0.001)
    assert known.is_slow(11.6)


def test_what_was_dear_is_not_read_twice_again(known):
    """When the front has been dear before, the look itself is the trial."""
    look(known, 10.0, 0.5, 0.4, 0.001)
    look(known, 30.0, 2.0, 2.0, 0.001)
    assert known.looks == [99 * SECOND]
    assert known.is_slow(44.9) and not known.is_slow(45.1)


def test_a_front_out_of_reach_is_left(known):
    """After a look from a front that was dear has failed, the next begin near the end; else a failure says nothing."""
    known.failed(5.0)
    assert not known.is_slow(5.1)
    look(known, 10.0, 0.5, 0.4, 0.001)
    known.failed(30.0)
    assert known.is_slow(44.9) and not known.is_slow(45.1)
    look(known, 50.0, 0.001, 0.0, 0.0)
    known.failed(51.0)
    assert not known.is_slow(51.1)

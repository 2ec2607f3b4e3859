"""watch: who is taken for dead, and who never is."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.watch import (
    ALERT_READ_SECONDS,
    COMPANY_READ_SECONDS,
    READ_SECONDS,
    SILENT_IDLE_SECONDS,
    SILENT_SECONDS,
    Watch,
)
from ap4r.storage.store import Beat


def read(watch, at, *beats, took=0.0):
    """Read these beats at this time."""
    watch.saw(at, at + took, beats, "me")


def busy(beat, owner="other"):
    """A dispatcher that holds leases."""
    return Beat(owner, beat, True)


def test_unchanged_for_fifteen_seconds_is_dead():
    """And not a moment before."""
    watch = Watch()
    for second in range(16):
        assert watch.silent() == []
        read(watch, float(second), busy(7))
    assert watch.silent() == [("other", 7)]


def test_a_counter_that_moves_is_life():
    """However slowly, as long as it moves within the time."""
    watch = Watch()
    for second in range(120):
        read(watch, float(second), busy(second // 14))
        assert watch.silent() == []


def test_oneself_is_not_watched():
    """A dispatcher never takes itself for dead."""
    watch = Watch()
    for second in range(60):
        read(watch, float(second), Beat("me", 1, True))
    assert watch.silent() == []


def test_time_without_reading_does_not_count():
    """While the store was away nobody could beat: a gap between readings begins the observation anew."""
    watch = Watch()
    read(watch, 0.0, busy(7))
    read(watch, 5.0, busy(7))
    read(watch, 65.0, busy(7))
    assert watch.silent() == []
    for second in range(66, 81):
        read(watch, float(second), busy(7))
    assert watch.silent() == [("other", 7)]


def test_silence_is_what_lies_between_two_readings():
    """A reading that took long proves nothing about the time it took."""
    watch = Watch()
    read(watch, 0.0, busy(7), took=4.0)
    for at in (5.0, 10.0, 15.0, 18.9):
        read(watch, at, busy(7))
        assert watch.silent() == []
    read(watch, 19.0, busy(7))
    assert watch.silent() == [("other", 7)]


def test_who_holds_nothing_beats_seldom():
    """Without leases a dispatcher beats each 30 s, and there is nothing to be rescued in haste."""
    watch = Watch()
    for second in range(0, int(SILENT_IDLE_SECONDS), 5):
        read(watch, float(second), Beat("other", 3, False))
        assert watch.silent() == []
    read(watch, SILENT_IDLE_SECONDS, Beat("other", 3, False))
    assert watch.silent() == [("other", 3)]


def test_leases_begin_the_observation_anew():
    """Time without leases does not count against one who has some now."""
    watch = Watch()
    for second in range(0, 30, 5):
        read(watch, float(second), Beat("other", 3, False))
    read(watch, 30.0, busy(3))
    assert watch.silent() == []


def test_who_left_is_forgotten():
    """And begins anew when it comes again."""
    watch = Watch()
    read(watch, 0.0, busy(7))
    read(watch, 5.0)
    for second in range(6, 20):
        read(watch, float(second), busy(7))
    assert watch.silent() == []


def test_forget_begins_anew():
    """One who turned out to live has all the time again."""
    watch = Watch()
    for second in range(16):
        read(watch, float(second), busy(7))
    watch.forget("other")
    assert watch.silent() == []
    read(watch, 16.0, busy(7))
    assert watch.silent() == []


@pytest.mark.parametrize(
    ("beats", "seconds"),
    [
        ((), READ_SECONDS),
        ((Beat("me", 1, True),), READ_SECONDS),
        ((Beat("other", 1, False),), COMPANY_READ_SECONDS),
        ((Beat("other", 1, False), busy(1, "third")), ALERT_READ_SECONDS),
    ],
)
def test_how_often_to_read(beats, seconds):
    """Seldom when alone, more often in company, each second while somebody else holds leases."""
    watch = Watch()
    read(watch, 0.0, *beats)
    assert watch.read_in_seconds(0.0) == seconds


def test_the_reading_that_decides_is_not_late():
    """The next reading is exactly when the silence is long enough."""
    watch = Watch()
    for second in range(15):
        read(watch, second * 1.0, busy(7))
    assert watch.read_in_seconds(14.6) == pytest.approx(SILENT_SECONDS - 14.6)


def test_any_death_is_noticed_within_twenty_seconds():
    """Also of one who was idle at the last reading, claimed right after it, and died at once."""
    for offset in (0.0, 0.1, 1.0, 2.5, 3.9):
        watch = Watch()
        read(watch, 0.0, Beat("other", 1, False))
        died_at = 0.0 + offset
        now = 0.0
        while not watch.silent():
            now += watch.read_in_seconds(now)
            read(watch, now, busy(2) if now >= died_at else Beat("other", 1, False))
        assert now - died_at <= 20.0


def test_time_in_which_the_observer_stood_still_is_no_silence():
    """What stopped it may have kept the other from beating, in short standstills that come one after the other."""
    watch = Watch()
    at = 0.0
    for _ in range(12):
        read(watch, at, busy(7))
        assert watch.silent() == []
        at += watch.read_in_seconds(at) + 7.0
    for _ in range(16):
        read(watch, at, busy(7))
        at += watch.read_in_seconds(at)
    assert watch.silent() == [("other", 7)]

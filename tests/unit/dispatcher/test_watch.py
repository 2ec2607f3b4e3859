"""watch: which dispatchers are considered dead, and which never are."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.store_worker.dead_peers import (
    ALERT_READ_SECONDS,
    COMPANY_READ_SECONDS,
    READ_SECONDS,
    SILENT_IDLE_SECONDS,
    SILENT_SECONDS,
    DeadPeers,
)
from ap4r.storage.store import Beat


def read(watch, at, *beats, took=0.0):
    """Read these beats at this time."""
    watch.saw(at, at + took, beats, "me")
    if watch.wants_proof():
        watch.wrote(at + took)


def busy(beat, owner="other"):
    """A dispatcher that holds leases."""
    return Beat(owner, beat, True)


def test_unchanged_for_fifteen_seconds_is_dead():
    """And not a moment before."""
    watch = DeadPeers()
    for second in range(16):
        assert watch.silent() == []
        read(watch, float(second), busy(7))
    assert watch.silent() == [("other", 7)]


def test_a_counter_that_moves_is_life():
    """However slowly, as long as it moves within the time."""
    watch = DeadPeers()
    for second in range(120):
        read(watch, float(second), busy(second // 14))
        assert watch.silent() == []


def test_oneself_is_not_watched():
    """A dispatcher never takes itself for dead."""
    watch = DeadPeers()
    for second in range(60):
        read(watch, float(second), Beat("me", 1, True))
    assert watch.silent() == []


def test_time_without_reading_does_not_count():
    """During an outage no dispatcher could beat: a gap between readings restarts the observation."""
    watch = DeadPeers()
    read(watch, 0.0, busy(7))
    read(watch, 5.0, busy(7))
    read(watch, 65.0, busy(7))
    assert watch.silent() == []
    for second in range(66, 81):
        read(watch, float(second), busy(7))
    assert watch.silent() == [("other", 7)]


def test_silence_is_what_lies_between_two_readings():
    """A reading that took long proves nothing about the time it took."""
    watch = DeadPeers()
    read(watch, 0.0, busy(7), took=4.0)
    for at in (5.0, 10.0, 15.0, 17.0, 18.9):
        read(watch, at, busy(7))
        assert watch.silent() == []
    read(watch, 19.0, busy(7))
    assert watch.silent() == [("other", 7)]


def test_who_holds_nothing_beats_seldom():
    """Without leases a dispatcher beats each 30 s, and there is nothing to be rescued in haste."""
    watch = DeadPeers()
    for second in (*range(0, int(SILENT_IDLE_SECONDS), 5), SILENT_IDLE_SECONDS - 2):
        read(watch, float(second), Beat("other", 3, False))
        assert watch.silent() == []
    read(watch, SILENT_IDLE_SECONDS, Beat("other", 3, False))
    assert watch.silent() == [("other", 3)]


def test_leases_restart_the_observation():
    """Time without leases does not count against one who has some now."""
    watch = DeadPeers()
    for second in range(0, 30, 5):
        read(watch, float(second), Beat("other", 3, False))
    read(watch, 30.0, busy(3))
    assert watch.silent() == []


def test_who_left_is_forgotten():
    """And restarts when it comes again."""
    watch = DeadPeers()
    read(watch, 0.0, busy(7))
    read(watch, 5.0)
    for second in range(6, 20):
        read(watch, float(second), busy(7))
    assert watch.silent() == []


def test_forget_restarts_the_observation():
    """One who turned out to live has all the time again."""
    watch = DeadPeers()
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
    """Rarely when alone, more often with others, each second while another dispatcher holds leases."""
    watch = DeadPeers()
    read(watch, 0.0, *beats)
    assert watch.read_in_seconds(0.0) == seconds


def test_the_reading_that_decides_is_not_late():
    """The next reading is exactly when the silence is long enough."""
    watch = DeadPeers()
    for second in range(15):
        read(watch, second * 1.0, busy(7))
    assert watch.read_in_seconds(14.6) == pytest.approx(SILENT_SECONDS - 14.6)


def test_any_death_is_noticed_within_twenty_seconds():
    """Also of one who was idle at the last reading, claimed right after it, and died at once."""
    for offset in (0.0, 0.1, 1.0, 2.5, 3.9):
        watch = DeadPeers()
        read(watch, 0.0, Beat("other", 1, False))
        died_at = 0.0 + offset
        now = 0.0
        while not watch.silent():
            now += watch.read_in_seconds(now)
            read(watch, now, busy(2) if now >= died_at else Beat("other", 1, False))
        assert now - died_at <= 20.0


def test_time_in_which_the_observer_stood_still_is_no_silence():
    """What stopped it may have kept the other from beating, in short standstills that come one after the other."""
    watch = DeadPeers()
    at = 0.0
    for _ in range(12):
        read(watch, at, busy(7))
        assert watch.silent() == []
        at += watch.read_in_seconds(at) + 7.0
    for _ in range(16):
        read(watch, at, busy(7))
        at += watch.read_in_seconds(at)
    assert watch.silent() == [("other", 7)]


class TestProof:
    """Whether the silence of others means anything is shown by a write of our own."""

    @staticmethod
    def _silent_after(seconds, wrote_at):
        watch = DeadPeers()
        for second in range(seconds + 1):
            watch.saw(float(second), float(second), [busy(7)], "me")
            if second == wrote_at:
                watch.wrote(float(second))
        return watch.silent()

    def test_a_store_that_takes_no_writes_kills_none(self):
        """However long the silence: without a write of our own, others may be kept from beating."""
        assert self._silent_after(60, None) == []

    def test_after_an_outage_others_have_time_to_beat(self):
        """The first write that succeeds may be ours; those who waited with us beat right after it."""
        assert self._silent_after(60, 60) == []
        assert self._silent_after(62, 60) == [("other", 7)]

    def test_an_old_write_shows_nothing(self):
        """The store may have stopped to take writes since."""
        assert self._silent_after(60, 45) == []

    def test_it_is_asked_for_before_the_silence_is_complete(self):
        """So that it does not make a death later."""
        watch = DeadPeers()
        for second in range(13):
            watch.saw(float(second), float(second), [busy(7)], "me")
            assert not watch.wants_proof()
        watch.saw(13.0, 13.0, [busy(7)], "me")
        assert watch.wants_proof()
        watch.wrote(13.0)
        watch.saw(14.0, 14.0, [busy(7)], "me")
        assert not watch.wants_proof()

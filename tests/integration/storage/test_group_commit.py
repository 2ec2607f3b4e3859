"""Group commit: puts that come together share a transaction, and none pays for another."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from ap4r.errors import StoreUnavailable
from ap4r.message.message import Put, new_id
from ap4r.storage.access.group_commit import GroupCommit
from tests.support.factories import counts, message
from tests.support.probe import wait_until
from tests.support.storefile import locked, trace

DEADLINE = 20.0


class Writer:
    """Writes nothing; keeps its arguments, and fails on request. The first write waits for `gate`."""

    def __init__(self):
        self.groups = []
        self.written = Counter()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.fails = lambda group: None

    def __call__(self, puts, within_seconds):
        self.groups.append([put.id for put in puts])
        if not self.entered.is_set():
            self.entered.set()
            assert self.gate.wait(DEADLINE)
            return
        error = self.fails(puts)
        if error is not None:
            raise error
        self.written.update(put.id for put in puts)


def puts(count):
    """Describe puts; their content does not matter."""
    return [Put(str(number), ()) for number in range(count)]


@pytest.fixture
def together():
    """Submit puts by threads so that all of them wait at once; return what became of each, in order."""
    pools = []

    def submit(writer, given, deadline_seconds=DEADLINE):
        commit = GroupCommit("x", writer, deadline_seconds)
        pool = ThreadPoolExecutor(len(given) + 1)
        pools.append(pool)
        first = pool.submit(commit.submit, Put("first", ()))
        assert writer.entered.wait(DEADLINE)
        futures: list[Future[None]] = []
        waiting = commit._queues[os.getpid()]._waiting
        for count, put in enumerate(given, start=1):
            futures.append(pool.submit(commit.submit, put))
            # One after the other, so that the order in which they wait is known.
            wait_until(lambda count=count: len(waiting) == count, f"{put.id} waits", every_seconds=0.0005)
        writer.gate.set()
        wait([first, *futures], DEADLINE)
        assert first.exception() is None
        return [future.exception() for future in futures]

    yield submit
    for pool in pools:
        pool.shutdown()


def test_those_who_wait_are_written_together(together):
    """Puts that came while one was being written are written by the next, in one transaction."""
    writer = Writer()
    assert together(writer, puts(10)) == [None] * 10
    assert [sorted(group) for group in writer.groups] == [["first"], sorted(put.id for put in puts(10))]
    assert writer.written == Counter({put.id: 1 for put in puts(10)})


def test_a_crowd_is_written_in_groups_of_a_bounded_size(together):
    """However many wait, no put returns before it was written, and no transaction grows without end."""
    writer = Writer()
    assert together(writer, puts(300)) == [None] * 300
    assert writer.written == Counter({put.id: 1 for put in puts(300)})
    assert max(len(group) for group in writer.groups) == 256
    assert len(writer.groups) == 3


def test_who_is_alone_is_written_alone():
    """Puts that come one after the other are written one by one, at once."""
    writer = Writer()
    writer.entered.set()
    commit = GroupCommit("x", writer, DEADLINE)
    for put in puts(3):
        commit.submit(put)
    assert writer.groups == [["0"], ["1"], ["2"]]


@pytest.mark.parametrize("bad", [{"0"}, {"4"}, {"9"}, {"0", "5", "9"}])
def test_a_bad_put_harms_no_other(together, bad):
    """Each put of a failed group is tried alone: the faulty one gets the error, the others are written."""
    writer = Writer()
    writer.fails = lambda group: ValueError("bad") if bad & {put.id for put in group} else None
    results = together(writer, puts(10))
    assert {str(number) for number, error in enumerate(results) if error is not None} == bad
    assert {type(error) for error in results if error is not None} == {ValueError}
    assert writer.written == Counter({put.id: 1 for put in puts(10) if put.id not in bad})


def test_a_commit_in_doubt_is_in_doubt_for_all(together):
    """If it is unknown whether the group was stored, each of its puts says so, and nothing is written again."""
    writer = Writer()
    writer.fails = lambda group: StoreUnavailable("x", "the disk failed", outcome_unknown=True)
    results = together(writer, puts(5))
    assert [error.outcome_unknown for error in results] == [True] * 5
    assert len(writer.groups) == 2


def test_a_store_that_is_away_shows_each(together):
    """If the store cannot be used, each put gets an error that says that it was not stored."""
    writer = Writer()
    writer.fails = lambda group: StoreUnavailable("x", "the disk is full")
    results = together(writer, puts(5))
    assert [(type(error), error.outcome_unknown) for error in results] == [(StoreUnavailable, False)] * 5


def test_an_interrupted_put_interrupts_no_other(together):
    """An interrupt in the thread that writes for all is its own: the others are written all the same."""
    writer = Writer()
    interrupted = []

    def fails(group):
        if len(group) > 1:
            interrupted.append(group[0].id)
            return KeyboardInterrupt()
        return None

    writer.fails = fails
    results = together(writer, puts(5))
    assert [type(error) for error in results if error is not None] == [KeyboardInterrupt]
    assert len(interrupted) == 1
    assert len(writer.written) == 4


def test_who_waits_too_long_gives_up(together, stalls):
    """A put whose turn does not come within the deadline fails, and is not written afterwards."""
    writer = Writer()
    commit = GroupCommit("x", writer, 0.2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commit.submit, Put("first", ()))
        assert writer.entered.wait(DEADLINE)
        began_at = time.monotonic()
        with pytest.raises(StoreUnavailable, match="other puts took longer") as caught:
            commit.submit(Put("late", ()))
        ended_at = time.monotonic()
        assert ended_at - began_at < 5.0 + stalls.within(began_at, ended_at)
        assert not caught.value.outcome_unknown
        writer.gate.set()
        first.result(DEADLINE)
    commit.submit(Put("next", ()))
    assert writer.groups == [["first"], ["next"]]


def test_who_gives_up_while_being_written_is_in_doubt():
    """The outcome of a put that others are writing at its deadline is unknown, and its error says so."""
    writer, second = Writer(), threading.Event()
    commit = GroupCommit("x", writer, 2.0)

    def fails(group):
        second.set()
        assert writer.stay.wait(DEADLINE)

    writer.fails, writer.stay = fails, threading.Event()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(commit.submit, Put("first", ()))
        assert writer.entered.wait(DEADLINE)
        futures = [pool.submit(commit.submit, put) for put in puts(2)]
        waiting = commit._queues[os.getpid()]._waiting
        wait_until(lambda: len(waiting) == 2, "both wait")
        writer.gate.set()
        assert second.wait(DEADLINE)
        done, _ = wait(futures, DEADLINE, return_when="FIRST_COMPLETED")
        [follower] = done
        assert follower.exception().outcome_unknown
        writer.stay.set()
        [leader] = set(futures) - done
        assert leader.result(DEADLINE) is None
        first.result(DEADLINE)


def test_what_is_left_of_the_deadline_is_what_a_write_may_take(together):
    """Who has waited for its turn has that much less time to write."""
    left = []
    writer = Writer()
    commit = GroupCommit("x", lambda group, within_seconds: (left.append(within_seconds), writer(group, 0)), 10.0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commit.submit, Put("first", ()))
        assert writer.entered.wait(DEADLINE)
        late = pool.submit(commit.submit, Put("late", ()))
        waiting = commit._queues[os.getpid()]._waiting
        wait_until(lambda: len(waiting) == 1, "the second waits")
        began_at = time.monotonic()
        wait_until(lambda: time.monotonic() - began_at > 0.2, "a while has passed")
        writer.gate.set()
        first.result(DEADLINE), late.result(DEADLINE)
    assert 0.0 < left[0] <= 10.0
    assert left[1] <= 10.0 - 0.2


def test_fewer_commits_than_puts(store, path):
    """On a real file, puts that wait for the same lock are stored by one commit, all of them."""
    store.prepare()
    statements = []
    trace(store, statements.append)
    with ThreadPoolExecutor(16) as pool:
        with locked(path):
            futures = [pool.submit(store.put, Put(new_id(), (message(),))) for _ in range(16)]
            wait_until(lambda: os.getpid() in store._group._queues, "the first has come")
            line = store._group._queues[os.getpid()]
            wait_until(lambda: len(line._waiting) == 15, "all but the first wait")
        for future in futures:
            future.result(DEADLINE)
    assert statements.count("COMMIT") == 2
    assert counts(store, now=time.time()) == (16, 0, 0, 0)

"""The SQLite file itself: how it is opened, kept durable, and shared with processes that fork."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import threading
import warnings
from contextlib import closing

import pytest

from ap4r.errors import StoreUnavailable
from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Dead, Delivered, Reason
from ap4r.storage.operations.transitions import ATTEMPTS_KEPT
from ap4r.storage.schema.tables import DETAIL_BYTES, Schema
from tests.support.factories import NOW, claim, counts, dispatcher, failure, ids, message, messages, put, retry, settle


def forked(action):
    """Run an action in a forked child; return what it returned, as JSON carries it."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Forking beside threads is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        answer = {"error": "it never ended"}
        try:
            answer = {"result": action()}
        except BaseException as error:  # noqa: BLE001 - the parent tells
            answer = {"error": repr(error)}
        finally:
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert "error" not in answer, answer
    return answer["result"]


def pragma(store, name):
    """Read a setting of the connection that a store writes over."""
    with store._database.writing(1.0) as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


class TestDurability:
    def test_every_connection_is_durable(self, store, opened, path):
        """Commits are fsynced (synchronous=FULL) to a write-ahead log, also on a file with other settings."""
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA journal_mode=DELETE")
            other.execute("CREATE TABLE theirs (id)")
        for one in (store, opened(path)):
            one.prepare()
            assert pragma(one, "journal_mode") == "wal"
            assert pragma(one, "synchronous") == 2

    def test_waiting_is_bounded_for_readers_too(self, opened, path):
        """A connection goes back to its own patience after each write."""
        store = opened(path, store_deadline_seconds=1.5)
        put(store, message())
        with store._database.reading(5.0) as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 1_500

    def test_a_put_is_there_for_others_when_it_returns(self, store, path):
        """An acknowledged put is in the file for the next process that opens it."""
        put(store, message())
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT count(*) FROM ap4r_ready").fetchone() == (1,)

    def test_nothing_is_opened_before_the_first_call(self, opened, path):
        """Naming a store makes no file."""
        store = opened(path)
        assert store.name == f"sqlite:///{path}"
        store.close()
        assert not path.exists()

    def test_what_was_delivered_is_not_written_once_more(self, store, path):
        """Forgetting a large body writes a few pages, also where SQLite was built to overwrite what is deleted."""
        put(store, message(body=b"x" * 1_000_000))
        [lease] = claim(store, dispatcher(store))
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        settle(store, (lease, Delivered()))
        assert 0 < path.with_name(f"{path.name}-wal").stat().st_size < 100_000


class TestBounds:
    def test_attempts_are_bounded_and_leave_with_their_message(self, store, path):
        """Of a message the last attempts are kept, their text cut; when it is delivered they go with it."""
        put(store, message())
        owner = dispatcher(store)
        for number in range(ATTEMPTS_KEPT + 10):
            [lease] = claim(store, owner, now=NOW + number)
            happened = failure(detail="🦊" * 10_000)
            settle(store, (lease, Dead(Reason.STATUS, happened) if number == 3 else retry(0.0)), now=NOW + number)
            if number == 3:
                store.replay([lease.message.id], now=NOW + number)
        with closing(sqlite3.connect(path)) as other:
            rows = other.execute("SELECT attempt, length(detail) FROM ap4r_attempts ORDER BY attempt").fetchall()
            assert [attempt for attempt, _ in rows] == list(range(11, ATTEMPTS_KEPT + 11))
            assert max(size for _, size in rows) <= DETAIL_BYTES
        [lease] = claim(store, owner, now=NOW + 100)
        settle(store, (lease, Delivered()), now=NOW + 100)
        with closing(sqlite3.connect(path)) as other:
            for table in Schema("ap4r_").metadata.tables:
                left = other.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                assert left == (1 if table in ("ap4r_puts", "ap4r_lanes", "ap4r_dispatchers") else 0), table

    def test_the_tables_are_those_of_the_description_word_for_word(self, store, path):
        """What the migrations make is what SQLite makes of `Schema`, WITHOUT ROWID and all."""
        store.prepare()
        with store._database.writing(1.0) as connection:
            Schema("fresh_").metadata.create_all(connection)
        with closing(sqlite3.connect(path)) as other:
            made = {
                name: " ".join(sql.split())
                for name, sql in other.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            }
        fresh = {name.removeprefix("fresh_"): sql for name, sql in made.items() if name.startswith("fresh_")}
        for name, sql in fresh.items():
            assert made[f"ap4r_{name}"].replace("ap4r_", "fresh_") == sql


class TestForks:
    def test_parent_and_child_both_go_on(self, store):
        """After a fork each side uses the store as before, and both see what the other has put."""
        put(store, message("parent"))
        assert forked(lambda: put(store, message("child")) and list(counts(store, "parent"))) == [1, 0, 0, 0]
        assert counts(store, "child") == (1, 0, 0, 0)
        put(store, message("parent"))
        assert counts(store, "parent") == (2, 0, 0, 0)

    def test_a_child_uses_no_connection_of_its_parent(self, store):
        """SQLite's locks belong to a process: a child makes connections of its own and leaves the parent's open."""
        put(store, message())
        mine = store._database.engine()
        assert mine.pool.checkedin() == 1

        def others():
            put(store, message())
            return store._database.engine() is not mine and mine.pool.checkedin() == 1

        assert forked(others)

    def test_a_fork_of_a_fork(self, store):
        """Also a grandchild works, and leaves parent and child whole."""
        put(store, message())

        def child():
            put(store, message())
            grandchild = forked(lambda: put(store, message()) and list(counts(store)))
            put(store, message())
            return grandchild

        assert forked(child) == [3, 0, 0, 0]
        put(store, message())
        assert counts(store) == (5, 0, 0, 0)

    def test_a_fork_in_the_middle_of_a_write(self, store):
        """A child that is forked while a thread of its parent holds locks of its memory waits for none of them."""
        store.put(Put(new_id(), (message(),)))
        began, go_on = threading.Event(), threading.Event()

        def write():
            with store._group._queues[os.getpid()].turn, store._database._opening_lock():
                began.set()
                assert go_on.wait(10)

        holding = threading.Thread(target=write)
        holding.start()
        assert began.wait(10)
        try:
            assert forked(lambda: store.put(Put(new_id(), (message("child"),)))) is None
        finally:
            go_on.set()
            holding.join()
        put(store, message())
        assert counts(store, "child", now=NOW * 2) == (1, 0, 0, 0)

    def test_a_fork_waits_for_who_writes(self, store):
        """What another thread has locked in the file is free again in a child, for a fork waits until it is."""
        put(store, message())
        began, go_on = threading.Event(), threading.Event()

        def write():
            with store._database.writing(5.0):
                began.set()
                assert go_on.wait(10)

        holding = threading.Thread(target=write)
        holding.start()
        assert began.wait(10)
        threading.Timer(0.3, go_on.set).start()
        assert forked(lambda: put(store, message("child")) and list(counts(store, "child"))) == [1, 0, 0, 0]
        assert go_on.is_set()
        holding.join()
        put(store, message())

    def test_a_fork_while_the_file_is_locked_by_the_parent(self, store):
        """A child waits for its parent's open transaction like any other process, and has its turn after it."""
        put(store, message())
        with store._database.writing(1.0) as connection:
            connection.exec_driver_sql("UPDATE ap4r_lanes SET used_at = used_at + 1")
            assert forked(lambda: list(counts(store))) == [1, 0, 0, 0]
        assert forked(lambda: put(store, message()) and list(counts(store))) == [2, 0, 0, 0]

    def test_a_child_that_ends_takes_nothing_along(self, store, path):
        """A child that closes its store, or merely ends, leaves the parent's connections and the log as they are."""
        put(store, message())
        forked(store.close)
        forked(lambda: put(store, message()) and store.close())
        assert path.with_name(path.name + "-wal").exists()
        put(store, message())
        assert counts(store) == (3, 0, 0, 0)
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


class TestInterruptions:
    def test_an_interrupted_process_can_put_again(self, opened, path):
        """An exception of a signal's handler at any point of a put does not lock a process out of the store."""

        class Interrupted(Exception):
            pass

        def interrupt(number, frame):
            raise Interrupted

        def put_interrupted():
            # In a process of its own, for the timer here is that of the tests.
            store, interrupted = opened(path, store_deadline_seconds=1.0), 0
            put(store, message())
            signal.signal(signal.SIGALRM, interrupt)
            while interrupted < 1_000:
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.0006))
                    store.put(Put(new_id(), (message("interrupted"),)))
                    signal.setitimer(signal.ITIMER_REAL, 0.0)
                except (Interrupted, StoreUnavailable):
                    interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for _ in range(3):
                put(store, message())
            return list(counts(store))

        assert forked(put_interrupted) == [4, 0, 0, 0]


class TestThreads:
    def test_many_readers_beside_a_writer(self, store):
        """More threads than there are connections read at once: they take turns, and none fails."""
        put(store, *messages(50))
        barrier, failed = threading.Barrier(24), []

        def read():
            barrier.wait()
            for _ in range(5):
                try:
                    store.look(), store.status(), store.dead()
                except Exception as error:  # noqa: BLE001 - told below
                    failed.append(error)

        threads = [threading.Thread(target=read) for _ in range(24)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            put(store, message())
        for thread in threads:
            thread.join()
        assert failed == []
        assert counts(store) == (70, 0, 0, 0)

    def test_stores_made_by_threads_at_once(self, opened, tmp_path):
        """Threads that make the tables of different files at the same time do not get in each other's way."""
        stores = [opened(tmp_path / f"{number}.db") for number in range(6)]
        barrier, failed = threading.Barrier(6), []

        def prepare(store):
            barrier.wait()
            try:
                put(store, message())
            except Exception as error:  # noqa: BLE001 - told below
                failed.append(error)

        threads = [threading.Thread(target=prepare, args=[store]) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert [counts(store) for store in stores] == [(1, 0, 0, 0)] * 6


def test_a_lane_that_was_rolled_back_is_created_again(store, path):
    """A lane whose put failed leaves no number behind: the next lane has it, and no message goes astray."""
    with closing(sqlite3.connect(path)) as other:
        store.prepare()
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON ap4r_ready WHEN new.attempt = 0 AND (SELECT queue FROM ap4r_lanes "
            "WHERE id = new.lane) = 'first' BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        other.commit()
        with pytest.raises(Exception, match="refused"):
            put(store, message("first"))
        other.execute("DROP TRIGGER refuse")
        other.commit()
    second, first = message("second"), message("first")
    put(store, second)
    put(store, first)
    leases = claim(store, dispatcher(store))
    assert {lease.message.id: lease.message.queue for lease in leases} == {second.id: "second", first.id: "first"}


class TestManyLanes:
    def test_the_directory_is_bounded(self, store, monkeypatch):
        """A put that would make more queue names than there may be is refused, and the names in use go on."""
        monkeypatch.setattr("ap4r.storage.operations.lanes.MAX_LANES", 3)
        put(store, *(message(f"q{number}") for number in range(3)))
        with pytest.raises(StoreUnavailable, match="3 queue names are in use"):
            put(store, message("q0"), message("one too many"))
        put(store, *(message(f"q{number}") for number in range(3)))
        assert [counts(store, f"q{number}") for number in range(3)] == [(2, 0, 0, 0)] * 3

    def test_what_a_process_remembers_is_bounded(self, store, opened, path, monkeypatch):
        """Lanes that come and go for years do not fill a process's memory, and none is mistaken for another."""
        monkeypatch.setattr("ap4r.storage.operations.lanes.MAX_LANES", 3)
        owner, week = dispatcher(store), 8 * 86_400.0
        for number in range(30):
            now = NOW + number * week
            one = message(f"q{number}")
            put(store, one, now=now)
            [lease] = claim(store, owner, excluded=[4_711], now=now)
            assert lease.message == one
            settle(store, (lease, Delivered()), now=now)
            # Another process prunes, so that this one is not told.
            opened(path).prune(now=now + week)
            store.register(owner, owner, "1", "", now=now + week)
        assert len(store._prepared.lanes._names) <= 8


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_lets_go_of_every_file(store, path):
    """After `close` no file of the store is open in this process."""

    def open_files():
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return [os.readlink(link) for link in links if os.path.islink(link) and str(path) in os.readlink(link)]

    put(store, message())
    assert ids(claim(store, dispatcher(store)))
    assert open_files()
    store.close()
    assert open_files() == []

"""SQLite in trouble: a clear error within the deadline, nothing lost, and work goes on when the cause is gone."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from ap4r.errors import SchemaMismatch, StoreError, StoreUnavailable, StoreUnusable
from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered
from ap4r.storage.store import SettleResult
from tests.support.disk import mounted
from tests.support.factories import bury, claim, counts, dispatcher, ids, message, messages, put, retry, settle
from tests.support.probe import wait_until
from tests.support.storefile import locked

DEADLINE = 0.4
WRITES = {
    "put": lambda store, lease: put(store, message()),
    "register": lambda store, lease: dispatcher(store, "other"),
    "beat": lambda store, lease: store.beat("one"),
    "claim": lambda store, lease: claim(store, "one"),
    "settle": lambda store, lease: settle(store, (lease, Delivered())),
    "rescue": lambda store, lease: store.rescue("one", 1),
    "unregister": lambda store, lease: store.unregister("one"),
    "replay": lambda store, lease: store.replay([lease.message.id]),
    "prune": lambda store, lease: store.prune(),
}


@pytest.fixture
def impatient(opened, path):
    """Return a store with a short deadline, one message leased in it."""
    store = opened(path, store_deadline_seconds=DEADLINE)
    put(store, message())
    dispatcher(store)
    store.lease = claim(store, "one")[0]
    return store


def forget(path):
    """Remove a store's file and what belongs to it."""
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


class TestLocked:
    @pytest.mark.parametrize("call", list(WRITES))
    def test_locked_for_longer_than_the_deadline(self, impatient, path, call, stalls):
        """A write that cannot have the lock fails at about the deadline, says so, and has changed nothing."""
        before = impatient.status(now=0), impatient.look(now=0)
        began_at = time.monotonic()
        with locked(path), pytest.raises(StoreUnavailable, match="locked") as caught:
            WRITES[call](impatient, impatient.lease)
        ended_at = time.monotonic()
        assert DEADLINE * 0.9 < ended_at - began_at < DEADLINE + 2.0 + stalls.within(began_at, ended_at)
        assert not caught.value.outcome_unknown
        assert (impatient.status(now=0), impatient.look(now=0)) == before
        WRITES[call](impatient, impatient.lease)

    def test_reading_goes_on(self, opened, path, stalls):
        """Who only looks waits for no writer."""
        store = opened(path, store_deadline_seconds=20.0)
        store.prepare()
        with locked(path):
            began_at = time.monotonic()
            store.look()
            store.status()
            store.dead()
            store.bells()
            ended_at = time.monotonic()
            assert ended_at - began_at < 10.0 + stalls.within(began_at, ended_at)

    def test_locked_for_a_while(self, opened, path):
        """A lock that is freed within the deadline is waited for."""
        store = opened(path)
        store.prepare()
        free, held = threading.Event(), threading.Event()

        def hold():
            with locked(path):
                held.set()
                assert free.wait(10)

        with ThreadPoolExecutor(2) as pool:
            holding = pool.submit(hold)
            assert held.wait(10)
            writing = pool.submit(put, store, message())
            assert not writing.done()
            free.set()
            holding.result(10)
            writing.result(10)
        assert counts(store) == (1, 0, 0, 0)

    def test_a_crowd_before_a_lock(self, impatient, path, stalls):
        """Each of many puts that wait together fails at about its own deadline, not after those of the others."""

        def write(_):
            began_at = time.monotonic()
            with pytest.raises(StoreUnavailable) as caught:
                impatient.put(Put(new_id(), (message("queue.b"),)))
            ended_at = time.monotonic()
            return ended_at - began_at - stalls.within(began_at, ended_at), caught.value.outcome_unknown

        with locked(path), ThreadPoolExecutor(12) as pool:
            results = list(pool.map(write, range(12)))
        assert max(seconds for seconds, _ in results) < DEADLINE + 2.0
        unknown = [unknown for _, unknown in results]
        assert sum(unknown) < len(unknown), "who wrote knows that it did not"
        assert counts(impatient, "queue.b") == (0, 0, 0, 0)

    def test_preparing_a_file_that_is_locked(self, opened, path, stalls):
        """Also the first call of a store ends within about the deadline."""
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("CREATE TABLE theirs (id)")
            other.execute("BEGIN EXCLUSIVE")
            store = opened(path, store_deadline_seconds=DEADLINE)
            began_at = time.monotonic()
            with pytest.raises(StoreUnavailable, match="locked"):
                put(store, message())
            ended_at = time.monotonic()
            assert ended_at - began_at < DEADLINE * 3 + 2.0 + stalls.within(began_at, ended_at)
            other.execute("ROLLBACK")
        put(store, message())
        assert counts(store) == (1, 0, 0, 0)


class TestDamage:
    def test_not_a_database(self, opened, path):
        """A file of another program is recognised, and not changed."""
        path.write_bytes(b"This is a letter to my aunt.\n" * 100)
        store = opened(path)
        for call in (store.prepare, lambda: put(store, message()), store.status):
            with pytest.raises(StoreUnusable, match="not a SQLite database"):
                call()
        assert path.read_bytes() == b"This is a letter to my aunt.\n" * 100

    @pytest.mark.parametrize("closed", [True, False])
    def test_damaged(self, opened, path, closed):
        """A file with overwritten pages is reported as damaged; after its restoration the same store continues."""
        store = opened(path)
        put(store, *messages(300))
        store.close()
        good = path.read_bytes()
        if not closed:
            assert counts(store) == (300, 0, 0, 0)
        with path.open("r+b") as file:
            file.seek(4_096)
            file.write(b"\xa5" * (len(good) - 4_096))
        for _ in range(2):
            with pytest.raises(StoreUnusable, match="damaged"):
                store.status()
                put(store, message())
        store.close()
        forget(path)
        path.write_bytes(good)
        assert counts(store) == (300, 0, 0, 0)
        put(store, message())
        assert counts(store) == (301, 0, 0, 0)

    def test_an_empty_file_is_an_empty_store(self, opened, path):
        """A file of no bytes gets its tables like one that is not there."""
        path.touch()
        put(opened(path), message())

    def test_dropped_tables(self, store, path):
        """Dropped tables are an error once, and exist again with the next call."""
        put(store, message())
        with closing(sqlite3.connect(path)) as other:
            found = other.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'ap4r%'"
            ).fetchall()
            for (name,) in found:
                other.execute(f"DROP TABLE {name}")
        with pytest.raises(StoreUnavailable, match="tables are gone"):
            put(store, message())
        put(store, message())
        assert counts(store) == (1, 0, 0, 0)


class TestPlaces:
    def test_a_missing_folder(self, opened, tmp_path):
        """A folder that is not there is named; made, the same store goes on."""
        folder = tmp_path / "later"
        store = opened(folder / "store.db")
        for _ in range(2):
            with pytest.raises(StoreUnusable, match=f"no folder {folder}"):
                put(store, message())
        folder.mkdir()
        put(store, message())
        assert counts(store) == (1, 0, 0, 0)

    def test_a_folder_in_its_place(self, opened, tmp_path):
        """A folder in place of the file is reported."""
        with pytest.raises(StoreUnusable, match="folder, not a file"):
            put(opened(tmp_path), message())

    def test_a_folder_below_a_file(self, opened, tmp_path):
        """A path through a file leads nowhere, and says so."""
        (tmp_path / "file").touch()
        with pytest.raises(StoreUnusable, match="no folder"):
            put(opened(tmp_path / "file" / "store.db"), message())

    @pytest.mark.parametrize("name", ["a b.db", "100%.db", "50%41.db", "ünï🦊.db", "a#b.db", "a;b'c\"d.db", "-x.db"])
    def test_names_of_every_kind(self, opened, tmp_path, name):
        """A path is taken as it is written, whatever its characters mean elsewhere."""
        put(opened(tmp_path / name), message())
        assert (tmp_path / name).exists()
        assert {file.name for file in tmp_path.iterdir()} <= {name, f"{name}-wal", f"{name}-shm"}

    def test_a_relative_path(self, opened, tmp_path, monkeypatch):
        """A relative path counts from the working folder at the time of opening, and keeps its meaning after."""
        monkeypatch.chdir(tmp_path)
        store = opened("here.db")
        monkeypatch.chdir("/")
        put(store, message())
        assert (tmp_path / "here.db").exists()

    def test_looking_makes_no_file(self, opened, path):
        """With `create_tables` off nothing is made, not even an empty file."""
        store = opened(path, create_tables=False)
        for call in (store.status, store.prepare, lambda: put(store, message())):
            with pytest.raises(StoreUnusable, match="no such file"):
                call()
        assert store.version() is None
        assert not path.exists()


class TestDisks:
    def test_read_only(self, opened, tmp_path):
        """On a disk that cannot be written a put fails with the reason; made writable, it is stored."""
        with mounted(tmp_path / "disk", 8) as disk:
            store = opened(disk.folder / "store.db")
            put(store, message())
            store.close()
            disk.make_read_only()
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="read-only") as caught:
                    put(store, message())
                assert not caught.value.outcome_unknown
            disk.make_writable()
            put(store, message())
            assert counts(store) == (2, 0, 0, 0)
            store.close()

    def test_read_only_from_the_start(self, opened, tmp_path):
        """A store that cannot be made because the disk is read-only says so."""
        with mounted(tmp_path / "disk", 8) as disk:
            disk.make_read_only()
            store = opened(disk.folder / "store.db")
            with pytest.raises(StoreError, match="read-only"):
                put(store, message())
            disk.make_writable()
            put(store, message())
            store.close()

    def test_full(self, opened, tmp_path):
        """On a full disk a put is stored whole or not at all, and says which; with room again work goes on."""
        with mounted(tmp_path / "disk", 4) as disk:
            store = opened(disk.folder / "store.db")
            bury(store, message("queue.b"))
            put(store, *messages(20))
            leases = claim(store, dispatcher(store), 5)
            disk.fill()
            stored = 20
            refused = 0
            for _ in range(20):
                try:
                    put(store, message(body=b"x" * 100_000))
                    stored += 1
                except StoreUnavailable as error:
                    assert "disk is full" in str(error)
                    assert not error.outcome_unknown
                    refused += 1
            assert refused > 10
            assert counts(store) == (stored - 5, 0, 5, 0)
            disk.free()
            put(store, message())
            assert settle(store, *((lease, Delivered()) for lease in leases)) == [SettleResult.SETTLED] * 5
            assert counts(store) == (stored - 4, 0, 0, 0)
            with closing(sqlite3.connect(disk.folder / "store.db")) as file:
                assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            store.close()

    def test_a_full_disk_on_first_use(self, opened, tmp_path):
        """A store that cannot be made for want of room is made when there is some."""
        with mounted(tmp_path / "disk", 4) as disk:
            disk.fill()
            store = opened(disk.folder / "store.db")
            with pytest.raises(StoreUnavailable):
                put(store, message())
            disk.free()
            put(store, message())
            assert counts(store) == (1, 0, 0, 0)
            store.close()


class TestReplaced:
    def test_deleted_while_open(self, store, path):
        """After the file was deleted the next put is stored in a new one, which other processes open too."""
        put(store, message(), message("queue.b"))
        forget(path)
        one = message("queue.b")
        put(store, one)
        assert path.exists()
        assert ids(claim(store, dispatcher(store))) == [one.id]

    def test_only_the_file_itself_is_deleted(self, store, path):
        """A log that was left behind by a file that is gone is not taken for the new file's."""
        put(store, message())
        path.unlink()
        assert path.with_name(path.name + "-wal").exists()
        one = message("queue.b")
        put(store, one)
        assert ids(claim(store, dispatcher(store))) == [one.id]
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def test_deleted_with_creation_off(self, opened, path):
        """Who makes no tables does not make a file that was deleted either, and goes on when it is back."""
        opened(path).prepare()
        store = opened(path, create_tables=False)
        put(store, message())
        store.close()
        kept = path.with_name("kept.db")
        path.rename(kept)
        with pytest.raises(StoreUnusable, match="no such file"):
            put(store, message())
        assert not path.exists()
        kept.rename(path)
        put(store, message())
        assert counts(store) == (2, 0, 0, 0)

    def test_replaced_while_open(self, opened, store, path):
        """A file that was put in the place of the old one is used at once, with what it knows and no other's."""
        put(store, *(message(f"q{number}") for number in range(5)))
        other = opened(path.with_name("other.db"))
        # The same lanes under other numbers: what was learnt from the old file would send messages astray.
        put(other, *(message(f"q{number}") for number in reversed(range(3, 9))))
        for lease in claim(other, dispatcher(other)):
            settle(other, (lease, Delivered()))
        other.unregister("one")
        other.close()
        forget(path)
        shutil.move(path.with_name("other.db"), path)
        described = [message(f"q{number}") for number in range(9)]
        put(store, *described)
        leases = claim(store, dispatcher(store))
        assert {lease.message.id: lease.message.queue for lease in leases} == {one.id: one.queue for one in described}
        names = opened(path).lanes([lease.lane for lease in leases])
        assert all(names[lease.lane] == lease.message.lane for lease in leases)

    def test_replaced_by_another_version(self, store, path):
        """A file of another version in the old one's place is refused."""
        put(store, message())
        forget(path)
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE ap4r_version (version_num VARCHAR(32))")
            other.execute("INSERT INTO ap4r_version VALUES ('7.0')")
            other.commit()
        with pytest.raises(SchemaMismatch, match=r"7\.0"):
            put(store, message())

    def test_moved_away_and_back(self, store, path):
        """A file that is back in its place is used again, with all that it held."""
        put(store, message())
        store.close()
        kept = path.with_name("kept.db")
        path.rename(kept)
        put(store, message("queue.b"))
        store.close()
        forget(path)
        kept.rename(path)
        assert counts(store) == (1, 0, 0, 0)
        assert counts(store, "queue.b") == (0, 0, 0, 0)

    def test_replaced_while_a_put_waits(self, opened, path):
        """A put that waited for the lock of a file that was taken away is stored in the new one."""
        store = opened(path)
        put(store, message())
        gone = path.with_name("gone.db")
        free, held = threading.Event(), threading.Event()

        def hold():
            with locked(path):
                held.set()
                assert free.wait(10)

        with ThreadPoolExecutor(2) as pool:
            holding = pool.submit(hold)
            assert held.wait(10)
            writing = pool.submit(put, store, message("queue.b"))
            wait_until(lambda: not store._database._opened.idle, "it waits for the lock")
            path.rename(gone)
            free.set()
            holding.result(10)
            writing.result(10)
        put(store, message("queue.b"))
        assert counts(opened(path), "queue.b") == (2, 0, 0, 0)


class TestBadRows:
    def test_a_row_that_cannot_be_settled_keeps_no_other_back(self, store, path):
        """A batch that fails for one of its rows is split: the others are settled, and that one is reported as open."""
        put(store, *messages(20))
        leases = claim(store, dispatcher(store))
        bad = leases[13]
        with closing(sqlite3.connect(path)) as other:
            other.execute(
                "CREATE TRIGGER refuse BEFORE DELETE ON ap4r_leased WHEN old.id = "
                f"x'{bad.message.id.replace('-', '')}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
            other.commit()
        answers = settle(store, *((lease, retry(60.0)) for lease in leases))
        assert [lease for lease, answer in zip(leases, answers, strict=True) if answer is SettleResult.UNKNOWN] == [bad]
        assert answers.count(SettleResult.SETTLED) == 19
        with pytest.raises(StoreUnavailable, match="refused"):
            settle(store, (bad, Delivered()))
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TRIGGER refuse")
        assert settle(store, (bad, Delivered())) == [SettleResult.SETTLED]
        assert counts(store) == (0, 19, 0, 0)

    def test_a_put_that_the_database_refuses(self, store, path):
        """A put that the database cannot take is an error of the store, and the next one is stored."""
        put(store, message())
        with closing(sqlite3.connect(path)) as other:
            other.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON ap4r_messages WHEN new.body = x'00' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
            other.commit()
        with pytest.raises(StoreUnavailable, match="refused"):
            put(store, message(body=b"\0"), message("queue.new"))
        put(store, message())
        assert counts(store) == (2, 0, 0, 0)
        assert counts(store, "queue.new") == (0, 0, 0, 0)

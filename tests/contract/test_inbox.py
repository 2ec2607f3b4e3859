"""The inbox: a record commits with the rest of its transaction, once, and no transaction waits for another."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from ap4r.storage.inbox_record import (
    DEFAULT_SECONDS,
    TOLERANCE_SECONDS,
    Record,
    RecordResult,
    StoredAnswer,
    digest,
    expiry,
)
from ap4r.storage.operations.inbox import InboxRecords, runner
from ap4r.storage.schema.tables import Schema
from tests.support.factories import NOW

DAY = 86_400.0
ANSWER = StoredAnswer(201, (("Content-Type", "text/plain"), ("X-Größe", "ü")), b"\x00done\xff" * 1_000)
LEVELS = ["default", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


def record(number=1, *, content=b"c", expires_at=NOW + DAY):
    """Describe a received message."""
    return Record(digest("sender", str(number), "/path"), digest(content), expires_at)


class Ledger:
    """A table of the application's own, and the inbox beside it."""

    def __init__(self, backend, store, level="default"):
        store.prepare()
        options = {} if level == "default" else {"isolation_level": level}
        self.engine = create_engine(backend.url, poolclass=NullPool, **options)
        if self.engine.dialect.name == "sqlite":
            # The driver begins transactions only before it writes; ours begin where SQLAlchemy says.
            event.listen(self.engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
            event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self.inbox = InboxRecords(Schema("ap4r_"), self.engine.dialect.name)
        with self.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS effects"))
            connection.execute(text("CREATE TABLE effects (number INTEGER)"))

    @contextmanager
    def begun(self):
        """Return a transaction that commits at the end of the block, and what runs statements in it."""
        with self.engine.begin() as connection:
            yield connection, runner(connection)

    def receive(self, one, *, now=NOW, answer=None):
        """Apply the effect of a message unless it is a repeat; return the inbox's answer."""
        with self.begun() as (connection, run):
            entry = self.inbox.record(run, one, now)
            if entry is RecordResult.FIRST:
                connection.execute(text("INSERT INTO effects VALUES (1)"))
                if answer is not None:
                    self.inbox.answer(run, one.key, answer)
            return entry

    def find(self, one):
        """Read a record from outside."""
        with self.begun() as (_, run):
            return self.inbox.find(run, one.key)

    @property
    def effects(self):
        """How many effects there were."""
        with self.engine.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM effects")).scalar_one()


@pytest.fixture
def make(shared, opened):
    """Create a ledger at an isolation level."""
    made = []

    def make_one(level="default"):
        made.append(Ledger(shared, opened(shared)(), level))
        return made[-1]

    yield make_one
    for one in made:
        with one.engine.begin() as connection:
            connection.execute(text("DROP TABLE effects"))
        one.engine.dispose()


@pytest.fixture(params=LEVELS)
def leveled(request, shared, make):
    """Return a ledger at each isolation level that there is."""
    if request.param != "default" and "sqlite" in shared.url:
        pytest.skip("SQLite has one level")
    return make(request.param)


class TestRepeats:
    def test_first_and_repeat(self, leveled):
        """The first call is marked as first; each later one finds the record."""
        assert leveled.receive(record()) is RecordResult.FIRST
        for _ in range(3):
            found = leveled.receive(record())
            assert (found.content, found.expires_at, found.answer) == (digest(b"c"), NOW + DAY, None)
        assert leveled.effects == 1

    def test_the_answer_is_stored_with_it(self, make):
        """A repeat finds status, headers and body as they were, whatever bytes they hold."""
        ledger = make()
        ledger.receive(record(), answer=ANSWER)
        assert ledger.receive(record()).answer == ANSWER
        assert ledger.find(record()).answer == ANSWER

    def test_keys_tell_apart(self, make):
        """Another sender, another id or another path is another message; parts never run into each other."""
        keys = {digest(*parts) for parts in [("a", "1", "/x"), ("b", "1", "/x"), ("a", "2", "/x"), ("a", "1", "/y"),
                                             ("a1", "", "/x"), ("", "a1", "/x"), ("a", "1/x", "")]}  # fmt: skip
        assert len(keys) == 7
        ledger = make()
        for key in keys:
            assert ledger.receive(Record(key, digest(b"c"), NOW)) is RecordResult.FIRST
        assert ledger.effects == 7

    def test_rolled_back_never_was(self, leveled):
        """After a rollback the next one is the first."""
        with pytest.raises(ZeroDivisionError), leveled.begun() as (connection, run):
            assert leveled.inbox.record(run, record(), NOW) is RecordResult.FIRST
            connection.execute(text("INSERT INTO effects VALUES (1)"))
            leveled.inbox.answer(run, record().key, ANSWER)
            raise ZeroDivisionError
        assert leveled.find(record()) is None
        assert leveled.receive(record()) is RecordResult.FIRST
        assert leveled.effects == 1

    def test_a_savepoint_takes_it_back(self, leveled):
        """A savepoint that is rolled back takes the record with it, and leaves the transaction whole."""
        with leveled.begun() as (connection, run):
            savepoint = connection.begin_nested()
            assert leveled.inbox.record(run, record(), NOW) is RecordResult.FIRST
            savepoint.rollback()
            connection.execute(text("INSERT INTO effects VALUES (1)"))
        assert leveled.effects == 1
        assert leveled.receive(record()) is RecordResult.FIRST

    def test_a_repeat_leaves_the_transaction_whole(self, leveled):
        """Meeting a record is no error: what the transaction does before and after is committed."""
        leveled.receive(record())
        with leveled.begun() as (connection, run):
            connection.execute(text("INSERT INTO effects VALUES (2)"))
            assert leveled.inbox.record(run, record(), NOW).content == digest(b"c")
            connection.execute(text("INSERT INTO effects VALUES (3)"))
        assert leveled.effects == 3


class TestInProgress:
    def test_answered_without_waiting(self, leveled, stalls):
        """While another transaction holds the record, each call reports that within a bounded time."""
        with leveled.begun() as (_, run):
            assert leveled.inbox.record(run, record(), NOW) is RecordResult.FIRST
            begun_at = time.monotonic()
            with leveled.engine.connect() as other, other.begin() as transaction:
                assert leveled.inbox.record(runner(other), record(), NOW) is RecordResult.BUSY
                transaction.rollback()
            ended_at = time.monotonic()
            waited_seconds = ended_at - begun_at - stalls.within(begun_at, ended_at)
        assert waited_seconds < 3.0
        assert leveled.receive(record()).answer is None

    def test_the_session_s_own_patience_is_left_as_it_was(self, make):
        """How long the application waits for locks is its own business, before and after."""
        ledger = make()
        asked = {"sqlite": "PRAGMA busy_timeout", "postgresql": "SHOW lock_timeout"}.get(
            ledger.engine.dialect.name, "SELECT @@SESSION.innodb_lock_wait_timeout"
        )
        with ledger.begun() as (connection, run):
            before = connection.execute(text(asked)).scalar_one()
            ledger.inbox.record(run, record(), NOW)
            ledger.inbox.record(run, record(), NOW)
            assert connection.execute(text(asked)).scalar_one() == before

    def test_after_its_end_it_is_known(self, leveled):
        """Once the other has committed it is a repeat, once it has rolled back it is a first."""
        for number, ends in enumerate(["commit", "rollback"]):
            with leveled.engine.connect() as one:
                transaction = one.begin()
                leveled.inbox.record(runner(one), record(number), NOW)
                getattr(transaction, ends)()
            entry = leveled.receive(record(number))
            assert (entry is RecordResult.FIRST) == (ends == "rollback")

    def test_a_snapshot_from_before_is_no_excuse(self, leveled):
        """A transaction that read before the other committed has no second effect: it sees the record or is refused."""
        with leveled.engine.connect() as late:
            transaction = late.begin()
            late.execute(text("SELECT version_num FROM ap4r_version")).all()
            assert leveled.receive(record()) is RecordResult.FIRST
            entry = leveled.inbox.record(runner(late), record(), NOW)
            assert entry is not RecordResult.FIRST
            transaction.rollback()
        assert leveled.effects == 1

    def test_others_are_not_held_up(self, make, shared):
        """Where rows are locked, and not the whole file, another message is received meanwhile."""
        if "sqlite" in shared.url:
            pytest.skip("SQLite has one writer")
        ledger = make()
        with ledger.begun() as (_, run):
            ledger.inbox.record(run, record(1), NOW)
            for number in range(2, 12):
                assert ledger.receive(record(number)) is RecordResult.FIRST
        assert ledger.effects == 10

    @pytest.mark.parametrize("threads", [2, 8])
    def test_many_at_once_have_one_effect(self, leveled, threads):
        """Of many that come at the same moment one has the effect, and no other fails for it."""
        for number in range(5):
            said, barrier = [], threading.Barrier(threads)

            def receive(number=number, said=said, barrier=barrier):
                barrier.wait()
                try:
                    said.append(leveled.receive(record(number)))
                except Exception as error:  # noqa: BLE001
                    said.append(error)

            crowd = [threading.Thread(target=receive) for _ in range(threads)]
            for one in crowd:
                one.start()
            for one in crowd:
                one.join()
            assert len(said) == threads
            assert [one for one in said if isinstance(one, Exception)] == []
            assert said.count(RecordResult.FIRST) == 1
            assert leveled.effects == number + 1


class TestForgetting:
    def test_a_record_lives_as_long_as_repeats_can_come(self):
        """Until the last repeat and an hour for clocks and slow calls; for a week where the last repeat is unknown."""
        assert expiry(NOW + 500, NOW) == NOW + 500 + TOLERANCE_SECONDS
        assert expiry(NOW - 500, NOW) == NOW + TOLERANCE_SECONDS
        assert expiry(None, NOW) == NOW + DEFAULT_SECONDS

    def test_a_store_prunes_them(self, shared, opened, make):
        """A dispatcher's pruning forgets what is over, in bounded batches, and nothing else."""
        ledger, store = make(), opened(shared)()
        for number in range(7):
            ledger.receive(record(number, expires_at=NOW + number))
        assert store.prune(now=NOW) == 0
        assert [store.prune(limit=2, now=NOW + 4.5) for _ in range(4)] == [2, 2, 1, 0]
        assert [ledger.receive(record(number)) is RecordResult.FIRST for number in range(7)] == [True] * 5 + [False] * 2

    def test_the_receiving_side_prunes_them(self, make):
        """A transaction of the application's own connection forgets a bounded number too."""
        ledger = make()
        for number in range(7):
            ledger.receive(record(number, expires_at=NOW + number))
        went = []
        for _ in range(4):
            with ledger.begun() as (_, run):
                went.append(ledger.inbox.forget(run, NOW + 4.5, most=2))
        assert went == [2, 2, 1, 0]
        assert ledger.find(record(5)).expires_at == NOW + 5

    def test_a_later_end_is_kept(self, make):
        """A record may be made to live longer, never shorter."""
        ledger = make()
        ledger.receive(record())
        for until, then in [(NOW + 2 * DAY, 2 * DAY), (NOW, 2 * DAY)]:
            with ledger.begun() as (_, run):
                ledger.inbox.extend(run, record().key, until)
            assert ledger.find(record()).expires_at == NOW + then

    def test_a_store_recalls(self, shared, opened, make):
        """A store tells what it has, with the answer, and keeps it as long as the sender may repeat."""
        ledger, store = make(), opened(shared)()
        assert store.recall(record().key, NOW) is None
        ledger.receive(record(), answer=ANSWER)
        for until, then in [(NOW, DAY), (NOW + DAY + 30, DAY), (NOW + 2 * DAY, 2 * DAY)]:
            found = store.recall(record().key, until)
            assert (found.content, found.answer) == (digest(b"c"), ANSWER)
            assert ledger.find(record()).expires_at == NOW + then


def test_the_prefix_may_have_capitals(shared, opened):
    """The statements name the table as the schema does, whatever the prefix."""
    store = opened(shared)(table_prefix="Two")
    store.prepare()
    engine = shared.engine()
    inbox = InboxRecords(Schema("Two"), engine.dialect.name)
    with engine.begin() as connection:
        run = runner(connection)
        assert inbox.record(run, record(), NOW) is RecordResult.FIRST
        assert inbox.find(run, record().key) is not None
        assert inbox.forget(run, NOW + 2 * DAY) == 1


def test_tables_of_the_version_before_are_moved(shared, opened):
    """A store of version 1.1 gets the inbox, and keeps its messages."""
    store = opened(shared)()
    store.prepare()
    with shared.engine().begin() as connection:
        connection.execute(text("DROP TABLE ap4r_inbox"))
        connection.execute(text("UPDATE ap4r_version SET version_num = '1.1'"))
    store = opened(shared)()
    store.migrate()
    assert store.recall(record().key, NOW) is None
    with shared.engine().connect() as connection:
        assert "ap4r_inbox" in inspect(connection).get_table_names()

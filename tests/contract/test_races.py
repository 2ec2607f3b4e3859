"""Many at once: no message is claimed twice or lost, without an error. Asserted by message, never by time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ap4r.errors import OwnerLost
from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered, PutBack
from ap4r.storage.store import Rescued, SettleResult
from tests.support.factories import NOW, bury, claim, counts, dispatcher, ids, message, messages, put, retry, settle

ROOT = Path(__file__).resolve().parents[2]


def at_once(*actions):
    """Run each action in a thread of its own, all beginning together; return what they returned, in order."""
    barrier = threading.Barrier(len(actions))

    def run(action):
        barrier.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


@pytest.fixture(params=["one store", "a store each"])
def stores(request, store, open_store):
    """Return stores for so many threads: the same one to all, or to each its own."""
    if request.param == "one store":
        return lambda count: [store] * count
    return lambda count: [open_store() for _ in range(count)]


class TestThreads:
    def test_claims_at_once_give_each_message_once(self, store, stores):
        """Dispatchers that claim together share the messages, and leave none."""
        described = messages(100) + messages(100, "queue.b") + messages(100, "queue.c", delay_seconds=1)
        put(store, *described)
        owners = [dispatcher(store, f"owner{number}") for number in range(6)]

        def drain(own, owner):
            found = []
            while leases := claim(own, owner, 7, now=NOW + 2):
                found += ids(leases)
            return found

        found = at_once(
            *(lambda own=own, owner=owner: drain(own, owner) for own, owner in zip(stores(6), owners, strict=True))
        )
        assert sorted(one for ids_of_one in found for one in ids_of_one) == sorted(one.id for one in described)

    def test_the_same_put_at_once_is_stored_once(self, store, stores):
        """A put that is repeated while it is on its way is one delivery."""
        made = Put(new_id(), tuple(messages(20)))
        at_once(*(lambda own=own: own.put(made) for own in stores(8)))
        assert counts(store, now=NOW * 2) == (20, 0, 0, 0)

    def test_one_message_in_several_puts_at_once_is_stored_once(self, store, stores):
        """A message that comes by several ways together is one delivery, and what comes with it is stored."""
        same = message()
        puts = [Put(new_id(), (message("queue.b"), same)) for _ in range(8)]
        at_once(*(lambda own=own, one=one: own.put(one) for own, one in zip(stores(8), puts, strict=True)))
        assert counts(store, now=NOW * 2) == (1, 0, 0, 0)
        assert counts(store, "queue.b", now=NOW * 2) == (8, 0, 0, 0)

    def test_new_queues_at_once(self, store, stores):
        """Writers that are the first to use a queue, together, make one lane of it."""
        names = [f"queue.{number}" for number in range(10)]

        def write(own):
            for name in names:
                own.put(Put(new_id(), (message(name),)))

        at_once(*(lambda own=own: write(own) for own in stores(8)))
        leases = claim(store, dispatcher(store), 1_000, now=NOW * 2)
        assert Counter(lease.message.queue for lease in leases) == dict.fromkeys(names, 8)
        assert len({lease.lane for lease in leases}) == 10

    def test_bad_puts_among_good_ones(self, store, stores):
        """Puts that cannot be stored fail alone, however many are written beside them."""
        good = [Put(new_id(), (message(),)) for _ in range(40)]
        bad = Put("this is no id", (message(),))

        def write(own, number):
            failed = 0
            for one in good[number * 10 : number * 10 + 10]:
                own.put(one)
                try:
                    own.put(bad)
                except ValueError:
                    failed += 1
            return failed

        failed = at_once(*(lambda own=own, number=number: write(own, number) for number, own in enumerate(stores(4))))
        assert failed == [10] * 4
        assert counts(store, now=NOW * 2) == (40, 0, 0, 0)

    @pytest.mark.parametrize("outcome", [Delivered(), retry(60.0), PutBack()])
    def test_settling_against_a_rescue(self, store, stores, outcome):
        """Of an outcome and a rescue that meet, one wins: the answer tells which, and the other changes nothing."""
        settling, rescuing = stores(2)
        for number in range(15):
            owner = dispatcher(store, f"owner{number}")
            put(store, message(f"queue.{number}"))
            [lease] = claim(store, owner)
            [beat] = store.look(now=NOW).beats
            [answer], rescued = at_once(
                lambda lease=lease: settle(settling, (lease, outcome)),
                lambda owner=owner, beat=beat: rescuing.rescue(owner, beat.beat, now=NOW),
            )
            assert (answer, rescued) in [(SettleResult.SETTLED, Rescued()), (SettleResult.LEASE_LOST, Rescued(freed=1))]
            expected = {Delivered: (0, 0, 0, 0), PutBack: (1, 0, 0, 0)}.get(type(outcome), (0, 1, 0, 0))
            assert counts(store, f"queue.{number}") == (expected if answer is SettleResult.SETTLED else (1, 0, 0, 0))
            for left in claim(store, dispatcher(store, "rest")):
                settle(store, (left, Delivered()))
            store.unregister("rest", now=NOW)

    def test_beating_against_a_rescue(self, store, stores):
        """A heartbeat during a rescue either keeps the leases, or reports that they are lost."""
        beating, rescuing = stores(2)

        def beat(owner):
            try:
                beating.beat(owner, now=NOW)
            except OwnerLost:
                return "lost"
            return "alive"

        for number in range(15):
            owner = dispatcher(store, f"owner{number}")
            put(store, message())
            [lease] = claim(store, owner)
            [seen] = store.look(now=NOW).beats
            told, rescued = at_once(
                lambda owner=owner: beat(owner),
                lambda owner=owner, seen=seen: rescuing.rescue(owner, seen.beat, now=NOW),
            )
            assert (told, rescued) in [("alive", None), ("lost", Rescued(freed=1))]
            [answer] = settle(store, (lease, Delivered()))
            assert (answer is SettleResult.SETTLED) == (told == "alive")
            for left in claim(store, dispatcher(store, "rest")):
                settle(store, (left, Delivered()))
            store.unregister("rest", now=NOW)
            store.unregister(owner, now=NOW)

    @pytest.mark.parametrize("beat", [True, False])
    def test_claiming_against_a_rescue(self, store, stores, beat):
        """Who claims while it is declared dead lives with what it claimed, or nothing of it stays with it."""
        claiming, rescuing = stores(2)

        def claim_one(owner):
            try:
                return claiming.claim(owner, 1, beat=beat, now=NOW).leases
            except OwnerLost:
                return "lost"

        for number in range(15):
            owner = dispatcher(store, f"owner{number}")
            put(store, message())
            [seen] = store.look(now=NOW).beats
            told, rescued = at_once(
                lambda owner=owner: claim_one(owner),
                lambda owner=owner, seen=seen: rescuing.rescue(owner, seen.beat, now=NOW),
            )
            if rescued is None:
                assert beat
                [lease] = told
                assert settle(store, (lease, Delivered())) == [SettleResult.SETTLED]
                store.unregister(owner, now=NOW)
            else:
                assert rescued == Rescued(freed=0 if told == "lost" else 1)
            for left in claim(store, dispatcher(store, "rest")):
                settle(store, (left, Delivered()))
            store.unregister("rest", now=NOW)
            assert counts(store) == (0, 0, 0, 0)

    def test_replays_at_once(self, store, stores):
        """A dead letter that several people put back together goes back once."""
        described = messages(20)
        bury(store, *described)
        wanted = [one.id for one in described]
        results = at_once(*(lambda own=own: own.replay(wanted, now=NOW) for own in stores(4)))
        replayed = [one for result in results for one in result.replayed]
        assert sorted(replayed) == sorted(wanted)
        assert counts(store) == (20, 0, 0, 0)

    def test_writing_reading_and_pruning_at_once(self, store, stores):
        """Everything that a store does, done by threads together, disturbs nothing of the rest."""
        writer, other, reader, pruner, worker = stores(5)
        described = [messages(3, f"queue.{number % 7}") for number in range(60)]
        done = threading.Event()

        def write(own, part):
            for some in part:
                own.put(Put(new_id(), tuple(some)))

        def read():
            looks = 0
            while not done.is_set():
                reader.status(), reader.look(), reader.dead(), reader.bells(), reader.lanes(range(20))
                looks += 1
            return looks

        def prune():
            while not done.is_set():
                pruner.prune()

        def work():
            worker.register("worker", "worker", "1", "")
            found = []
            try:
                while len(found) < 180:
                    leases = worker.claim("worker", 10, excluded=[4_711]).leases
                    assert set(settle(worker, *((lease, Delivered()) for lease in leases), now=None)) <= {"settled"}
                    found += ids(leases)
            finally:
                done.set()
            return found

        *_, found = at_once(
            lambda: write(writer, described[::2]), lambda: write(other, described[1::2]), read, prune, work
        )
        assert sorted(found) == sorted(one.id for some in described for one in some)
        assert store.status().queues == ()


class Workers:
    """Processes that begin together."""

    def __init__(self, url):
        self._url = url
        self._started = []

    def start(self, job, name, count):
        """Start one and wait until it is ready."""
        command = [sys.executable, "-m", "tests.contract.worker", job, self._url, name, str(count)]
        self._started.append(
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )

    def go(self):
        """Start all when the last is ready."""
        for process in self._started:
            assert process.stdout.readline() == "ready\n"
        for process in self._started:
            process.stdin.write("go\n")
            process.stdin.flush()

    def results(self, first=0, last=None):
        """Wait for those that were started from number `first` to before `last`; return what each did."""
        found = []
        for process in self._started[first:last]:
            answer, _ = process.communicate(timeout=50)
            assert process.returncode == 0
            found.append(json.loads(answer))
        return found

    def end(self):
        """End those that still run."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def workers(shared):
    """Start processes on a database that several can open; all are ended with the test."""
    started = Workers(shared.url)
    yield started
    started.end()


class TestProcesses:
    def test_eight_write_while_two_drain(self, shared, opened, workers):
        """Eight processes that put while two deliver meet no error, and each message is delivered once."""
        store = opened(shared)()
        for name in ("drain-1", "drain-2"):
            workers.start("drain", name, 1)
        for number in range(8):
            workers.start("put", str(number), 200)
        workers.go()
        stored = [one for ids_of_one in workers.results(first=2) for one in ids_of_one]
        put(store, message("stop"), message("stop"), now=None)
        settled = [one for ids_of_one in workers.results(last=2) for one in ids_of_one]
        assert len(stored) == 1_600
        assert sorted(settled) == sorted(stored)
        assert store.status().queues == ()
        assert store.look().beats == ()

    def test_several_prepare_an_empty_store(self, shared, opened, workers):
        """Processes that meet at an empty database make its tables once, and all go on."""
        shared.clear()
        for number in range(6):
            workers.start("prepare", str(number), 5)
        workers.go()
        stored = [one for ids_of_one in workers.results() for one in ids_of_one]
        store = opened(shared)()
        found = ids(claim(store, dispatcher(store, now=None), now=None))
        assert sorted(found) == sorted(stored)
        assert len(found) == 30

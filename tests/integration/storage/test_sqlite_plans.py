"""The hot statements use their keys, and their cost does not grow with what waits. Counted in SQLite's own steps."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import event

from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered, PutBack
from tests.support.factories import NOW, bury, claim, dead, dispatcher, message, messages, put, retry, settle
from tests.support.storefile import trace

#: Read as a whole: the few dispatchers, what an inner query has found, and, by its owner alone,
#: what is leased, which is bounded by the calls in flight.
MAY_BE_SCANNED = (
    "SCAN ap4r_dispatchers",
    "SCAN anon_",
    "SCAN places",
    "SCAN ap4r_leased USING COVERING INDEX ap4r_leased_owner",
)
BY_ID = "USING INDEX sqlite_autoindex_ap4r_messages_1 (id=?)"
#: How each operation finds its rows. A change here is a change of what a busy store costs.
#: Pruning reads the directory of lanes, and what is in flight for each that may go.
SCANS = {"prune": {"SCAN ap4r_lanes", "SCAN ap4r_leased"}}
KEYS = {
    "claim": {
        "SEARCH ap4r_lanes USING INTEGER PRIMARY KEY (rowid>?)",
        "SEARCH ap4r_lanes USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH ap4r_dispatchers USING PRIMARY KEY (owner=?)",
        "SEARCH ap4r_scheduled USING PRIMARY KEY (due_at>? AND due_at<?)",
        "SEARCH ap4r_scheduled USING PRIMARY KEY ((due_at,id)>(?,?) AND (due_at,id)<(?,?))",
        "SEARCH ap4r_scheduled USING PRIMARY KEY (due_at>?)",
        "SEARCH ap4r_ready USING PRIMARY KEY (lane=?)",
        "SEARCH ap4r_ready USING PRIMARY KEY (lane=? AND position>?)",
        "SEARCH ap4r_ready USING PRIMARY KEY (lane=? AND (position,id)>(?,?) AND (position,id)<(?,?))",
        f"SEARCH ap4r_messages {BY_ID} LEFT-JOIN",
    },
    "claim with lanes held": {
        "SEARCH ap4r_lanes USING INTEGER PRIMARY KEY (rowid>?)",
        "SEARCH ap4r_dispatchers USING PRIMARY KEY (owner=?)",
        "SEARCH ap4r_scheduled USING PRIMARY KEY (due_at>? AND due_at<?)",
        "SEARCH ap4r_scheduled USING PRIMARY KEY ((due_at,id)>(?,?) AND (due_at,id)<(?,?))",
        "SEARCH ap4r_scheduled USING PRIMARY KEY (due_at>?)",
        "SEARCH ap4r_ready USING PRIMARY KEY (lane=? AND position>?)",
        "SEARCH ap4r_ready USING PRIMARY KEY (lane=? AND position=? AND id=?)",
        f"SEARCH ap4r_messages {BY_ID} LEFT-JOIN",
    },
    "settle": {
        "SEARCH ap4r_leased USING PRIMARY KEY (id=?)",
        f"SEARCH ap4r_messages {BY_ID}",
        "SEARCH ap4r_attempts USING PRIMARY KEY (id=?)",
    },
    "look": {
        "SEARCH ap4r_ready USING PRIMARY KEY",
        "SEARCH ap4r_scheduled USING PRIMARY KEY",
        "SEARCH ap4r_leased USING COVERING INDEX ap4r_leased_owner (owner=?)",
        "SEARCH ap4r_dispatchers USING PRIMARY KEY (owner=?)",
    },
    "put": {
        "SEARCH ap4r_lanes",
        "SEARCH ap4r_lanes USING COVERING INDEX sqlite_autoindex_ap4r_lanes_1 (queue=?)",
    },
    "a put again": {
        "SEARCH ap4r_puts USING PRIMARY KEY (id=?)",
        f"SEARCH ap4r_messages {BY_ID.replace('INDEX', 'COVERING INDEX')}",
    },
    "beat": {"SEARCH ap4r_dispatchers USING PRIMARY KEY (owner=?)"},
    "rescue": {
        "SEARCH ap4r_dispatchers USING PRIMARY KEY (owner=?)",
        "SEARCH ap4r_leased USING INDEX ap4r_leased_owner (owner=?)",
        "SEARCH ap4r_leased USING PRIMARY KEY (id=?)",
        f"SEARCH ap4r_messages {BY_ID}",
    },
    "dead letters": {
        "SEARCH ap4r_dead USING PRIMARY KEY (id>?)",
        f"SEARCH ap4r_messages {BY_ID}",
    },
    "dead letters of a queue": {
        "SEARCH ap4r_lanes USING COVERING INDEX sqlite_autoindex_ap4r_lanes_1 (queue=?)",
        "SEARCH ap4r_dead USING COVERING INDEX ap4r_dead_lane (lane=? AND id>?)",
        "SEARCH ap4r_dead USING PRIMARY KEY (id=?)",
        f"SEARCH ap4r_messages {BY_ID}",
    },
    "replay": {
        "SEARCH ap4r_dead USING PRIMARY KEY (id=?)",
        f"SEARCH ap4r_messages {BY_ID}",
    },
    "prune": {
        "SEARCH ap4r_puts USING COVERING INDEX ap4r_puts_stored_at (stored_at<?)",
        "SEARCH ap4r_puts USING PRIMARY KEY (id=?)",
        "SEARCH ap4r_lanes USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH ap4r_ready USING PRIMARY KEY (lane=?)",
        "SEARCH ap4r_scheduled USING COVERING INDEX ap4r_scheduled_lane (lane=?)",
        "SEARCH ap4r_dead USING COVERING INDEX ap4r_dead_lane (lane=?)",
        "SEARCH ap4r_leased USING COVERING INDEX ap4r_leased_owner (owner=?)",
        "SEARCH ap4r_inbox USING INDEX ap4r_inbox_expires_at (expires_at<?)",
    },
}


class Plans:
    """Keeps the statements of a store, and how SQLite carries them out."""

    def __init__(self, store, path):
        self._path = path
        self.lines = []
        trace(store, self._explain)

    def _explain(self, statement):
        if not statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            return
        with closing(sqlite3.connect(self._path)) as other:
            self.lines += [row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {statement}")]

    def of(self, action):
        """Return the lines of the plans of all that an action does."""
        self.lines = []
        action()
        return self.lines


@pytest.fixture
def busy(store):
    """Return a store with messages in every state and several lanes, `q1` being long; dispatcher `one` holds some."""
    for number in range(5):
        bury(store, *messages(5, f"q{number}"))
    put(store, *(message(f"q{number}") for number in range(5) for _ in range(20)), *messages(200, "q1"))
    put(store, *(message(f"q{number}", delay_seconds=60.0 + number) for number in range(5) for _ in range(20)))
    owner = dispatcher(store)
    for lease in claim(store, owner, 10):
        settle(store, (lease, retry(0.0)))
    store.leases = claim(store, owner, 30)
    assert {lease.attempt for lease in store.leases} == {1, 2}
    store.letters = store.dead()
    return store


def settle_all(store):
    """Settle what `one` holds, with every outcome."""
    outcomes = [Delivered(), retry(60.0), PutBack(), dead()]
    settle(store, *((lease, outcomes[number % 4]) for number, lease in enumerate(store.leases)))


def put_again(store):
    """Put what the store remembers, and what it only holds."""
    made = put(store, message("q0"))
    store.put(made, now=NOW)
    store.put(Put(new_id(), made.messages), now=NOW)


ACTIONS = {
    "claim": lambda store: claim(store, "one", 150, now=NOW + 62),
    "claim with lanes held": lambda store: claim(store, "one", 10, excluded=[1, 2, 3], now=NOW + 62),
    "settle": settle_all,
    "look": lambda store: store.look(now=NOW),
    "beat": lambda store: store.beat("one", now=NOW),
    "put": lambda store: put(store, message("q0"), message("new")),
    "a put again": put_again,
    "rescue": lambda store: store.rescue("one", store.beats, now=NOW),
    "dead letters": lambda store: store.dead(limit=5, after=store.letters[3].message.id),
    "dead letters of a queue": lambda store: store.dead(limit=5, queue="q1"),
    "replay": lambda store: store.replay([letter.message.id for letter in store.letters[:5]]),
    "prune": lambda store: store.prune(now=NOW + 1_000),
}


@pytest.mark.parametrize("operation", list(KEYS))
def test_keys_are_used(busy, path, operation):
    """Each hot operation finds its rows by the keys that are meant for it; no hot table is read through or sorted."""
    busy.beats = next(seen.beat for seen in busy.look(now=NOW).beats if seen.owner == "one")
    lines = Plans(busy, path).of(lambda: ACTIONS[operation](busy))
    scans = {line for line in lines if line.startswith("SCAN") and not line.startswith(MAY_BE_SCANNED)}
    assert scans == SCANS.get(operation, set())
    assert not [line for line in lines if "ORDER BY" in line or "AUTOMATIC" in line or "MULTI-INDEX" in line]
    assert {line for line in lines if line.startswith("SEARCH")} == KEYS[operation]


class Steps:
    """Counts the steps of SQLite's machine, which do not depend on how busy this computer is."""

    def __init__(self, store):
        self._count = 0
        store.close()
        event.listen(store._database.engine(), "connect", self._listen)

    def _listen(self, driver, record):
        driver.set_progress_handler(self._tick, 1)

    def _tick(self):
        self._count += 1
        return 0

    def of(self, action):
        """Return the steps that an action takes."""
        self._count = 0
        action()
        return self._count


def measured(store):
    """Return the steps of claiming, settling, looking, beating and putting: ten messages each."""
    owner = dispatcher(store, "measured")
    steps = Steps(store)
    for _ in range(2):
        # The first round fills what a process remembers.
        leases = []
        found = {
            "claim": steps.of(lambda leases=leases: leases.extend(claim(store, owner, 10))),
            "settle": steps.of(lambda leases=leases: settle(store, *((lease, retry(60.0)) for lease in leases))),
            "look": steps.of(lambda: store.look(now=NOW)),
            "beat": steps.of(lambda: store.beat(owner, now=NOW)),
            "put": steps.of(lambda: put(store, *messages(10))),
        }
        assert len(leases) == 10
    return found


class TestFlat:
    def test_cost_does_not_grow_with_the_backlog(self, opened, tmp_path):
        """Every hot operation takes as many steps before twenty thousand messages as before a few."""
        small, large = opened(tmp_path / "small.db"), opened(tmp_path / "large.db")
        put(small, *messages(20), *messages(20, delay_seconds=500.0))
        for _ in range(10):
            put(large, *messages(1_000), *messages(1_000, delay_seconds=500.0))
        few, many = measured(small), measured(large)
        for operation, steps in few.items():
            assert many[operation] <= steps * 1.1 + 20, (operation, few, many)

    def test_cost_does_not_grow_with_what_has_passed_through(self, store):
        """After many messages have come and gone a claim costs what it cost at first."""
        put(store, *messages(40))
        before = measured(store)
        store.unregister("measured", now=NOW)
        for _ in range(10):
            put(store, *messages(1_000))
            settle(store, *((lease, Delivered()) for lease in claim(store, dispatcher(store), 1_000)))
        put(store, *messages(40))
        after = measured(store)
        assert after["claim"] <= before["claim"] * 1.1 + 20
        assert after["look"] <= before["look"] * 1.1 + 20

    def test_cost_does_not_grow_with_a_long_lane(self, store):
        """A lane with thousands before another costs no more than one with a few, also when a claim is filled up."""
        put(store, *messages(100, "long"), message("short"))
        steps = Steps(store)
        owner = dispatcher(store)
        before = steps.of(lambda: claim(store, owner, 20))
        for _ in range(5):
            put(store, *messages(1_000, "long"))
        put(store, message("short"))
        after = steps.of(lambda: claim(store, owner, 20))
        assert after <= before * 1.1 + 20

    @pytest.mark.parametrize("free", [1, 2])
    def test_held_lanes_are_stepped_over(self, store, free):
        """With nearly all of two thousand lanes held, a claim reads little more than with nearly all of twenty."""
        steps = Steps(store)
        owner = dispatcher(store)
        found = []
        for lanes in (20, 2_000):
            put(store, *(message(f"q{number}") for number in range(lanes) for _ in range(2)))
            known = sorted(store.lanes(range(1, 5_000)))
            held = set(known[:-free])
            claim(store, owner, 1, excluded=held)
            found.append(steps.of(lambda held=held: claim(store, owner, free, excluded=held)))
        assert found[1] <= found[0] * 1.2 + 50, found

    def test_a_page_of_dead_letters_is_read_from_where_it_begins(self, store):
        """Listing dead letters a page at a time reads the page, not those before it."""
        bury(store, *messages(1_000))
        pages = store.dead(limit=1_000)
        steps = Steps(store)
        first = steps.of(lambda: store.dead(limit=10))
        last = steps.of(lambda: store.dead(limit=10, after=pages[-11].message.id))
        assert last <= first * 1.1 + 20

"""How the servers find the rows of every hot statement: by the key that is meant for it, whatever their figures say.

The plan of each statement is asked for on the connection and in the transaction in which it is then carried out.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from typing import NamedTuple

import pytest
from sqlalchemy import event

from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered, PutBack
from ap4r.settings.settings import Settings
from ap4r.storage.databases import driver_calls
from ap4r.storage.open import open_store
from benchmarks.backlog import Backlog
from tests.support.databases import KINDS, shared_server
from tests.support.factories import claim, dead, dispatcher, message, messages, put, retry, settle

TABLES = ("messages", "ready", "scheduled", "leased", "dead", "attempts", "lanes", "dispatchers", "puts")
YEARS = 2 * 365 * 86_400
#: How MariaDB finds rows without reading a table or an index through.
BY_KEY = frozenset({"const", "eq_ref", "ref", "ref_or_null", "range", "unique_subquery", "index_subquery"})

MESSAGES, READY, LEASED = "messages by PRIMARY", "ready by PRIMARY", "leased by PRIMARY"
CLAIM = {
    "dispatchers by PRIMARY",
    "scheduled by PRIMARY",
    "lanes by PRIMARY",
    READY,
    MESSAGES,
}
#: How each operation may find its rows. A change here is a change of what a busy store costs. Read through are only
#: the few dispatchers, what is leased, which is bounded by the calls in flight, and by pruning the directory of lanes.
PLANS = {
    "claim": CLAIM,
    "claim with lanes held": CLAIM,
    "promotion": CLAIM,
    "settle": {LEASED, MESSAGES, "attempts by PRIMARY"},
    "look": {
        READY,
        "scheduled by PRIMARY",
        "leased by leased_owner",
        "leased read through",
        "dispatchers by PRIMARY",
        "dispatchers read through",
        # What is leased beside the dispatchers: both are few.
        "Sort",
        "Hash",
        "Hash Join",
    },
    "beat": {"dispatchers by PRIMARY", "dispatchers read through"},
    "put": {"lanes by PRIMARY", "lanes by lanes_name"},
    "a put again": {"puts by PRIMARY", "lanes by PRIMARY", "lanes by lanes_name", MESSAGES},
    "rescue": {"dispatchers by PRIMARY", "leased by leased_owner", LEASED, MESSAGES},
    "hand back": {"dispatchers by PRIMARY", "leased by leased_owner", LEASED},
    "dead letters": {"dead by PRIMARY", "lanes by PRIMARY", MESSAGES},
    "dead letters of a queue": {
        "dead by PRIMARY",
        "dead by dead_lane",
        "lanes by PRIMARY",
        "lanes by lanes_name",
        MESSAGES,
    },
    "replay": {"dead by PRIMARY", MESSAGES},
    "prune": {
        "puts by puts_stored_at",
        "puts by PRIMARY",
        "inbox by inbox_expires_at",
        "lanes by PRIMARY",
        "lanes read through",
        READY,
        "scheduled by scheduled_lane",
        "dead by dead_lane",
        "leased by leased_owner",
        "leased read through",
        "dispatchers by PRIMARY",
        "dispatchers read through",
    },
}  # fmt: skip


#: What each operation must use, so that the plan does not hold by leaving out the backlog.
MUST = {
    "claim": {READY, MESSAGES},
    "claim with lanes held": {READY, MESSAGES},
    "promotion": {READY, MESSAGES, "scheduled by PRIMARY"},
    "settle": {LEASED, MESSAGES},
    "put": {"lanes by lanes_name"},
    "a put again": {"puts by PRIMARY", MESSAGES},
    "rescue": {"leased by leased_owner", LEASED, MESSAGES},
    "hand back": {"leased by leased_owner", LEASED},
    "dead letters": {"dead by PRIMARY", MESSAGES},
    "dead letters of a queue": {"dead by PRIMARY", "dead by dead_lane", "lanes by lanes_name", MESSAGES},
    "replay": {"dead by PRIMARY", MESSAGES},
    "prune": {"puts by puts_stored_at", "puts by PRIMARY", READY, "scheduled by scheduled_lane", "dead by dead_lane"},
}


class Busy(NamedTuple):
    """A store with a backlog, and what is leased in it."""

    store: object
    leases: list
    server: object


def freeze_figures(server, kind):
    """Keep the server from updating its statistics."""
    for table in TABLES:
        change = "STATS_AUTO_RECALC = 0" if kind == "mariadb" else "SET (autovacuum_enabled = off)"
        server.execute(f"ALTER TABLE ap4r_{table} {change}", "plans")


def fill(backlog, analyze=True):
    """Fill a store."""
    backlog.fill(600, ready=20_000, scheduled=5_000, dead=5_000, puts=5_000, analyze=analyze)


def empty(server, *tables):
    """Delete all rows."""
    for table in tables:
        server.execute(f"DELETE FROM ap4r_{table}", "plans")


@pytest.fixture(scope="module", params=["true figures", "figures of empty tables", "figures of a backlog long gone"])
def figures(request):
    """Name what the server believes."""
    return request.param


@pytest.fixture(scope="module", params=sorted(KINDS))
def busy(request, figures):
    """Return a store with a backlog, of which the server believes this or that, and 300 leases of others."""
    kind = request.param
    server = shared_server(kind)
    url = server.make("plans")
    store = open_store(url, Settings(store=url, store_deadline_seconds=60.0))
    with closing(store):
        store.prepare()
        freeze_figures(server, kind)
        backlog = Backlog(store, url)
        states = [table for table in TABLES if table not in ("lanes", "dispatchers")]
        if figures == "figures of empty tables":
            fill(backlog)
            empty(server, *states, "dispatchers")
            backlog.analyze()
            fill(backlog, analyze=False)
        elif figures == "figures of a backlog long gone":
            fill(backlog)
            empty(server, *states)
            put(store, *(message(f"queue.{number}", url="/work") for number in range(40) for _ in range(50)), now=None)
            put(store, *messages(20, delay_seconds=float(YEARS // 2)), now=None)
        else:
            fill(backlog)
        leases = claim(store, dispatcher(store, "others", now=None), 300, now=None)
        settle(store, *((lease, dead()) for lease in leases[:50]), now=None)
        if figures == "true figures":
            backlog.analyze()
        yield Busy(store, leases[50:], server)


class Plans:
    """Asks for the plan of each statement of a store, and gives it in words that mean the same on both servers."""

    def __init__(self, store, monkeypatch):
        self._engine = store._database.engine()
        self._monkeypatch = monkeypatch
        self._found = set()

    def of(self, action):
        """Return how the statements of an action find their rows."""
        to_driver = driver_calls.call_driver

        def call_driver(connection, call, statement, values):
            result = to_driver(connection, call, statement, values)
            # Afterwards: the transaction may have been opened by the statement itself.
            self._explain(connection, None, statement, values, None, isinstance(values, list))
            return result

        event.listen(self._engine, "before_cursor_execute", self._explain)
        try:
            with self._monkeypatch.context() as patched:
                patched.setattr(driver_calls, "call_driver", call_driver)
                action()
        finally:
            event.remove(self._engine, "before_cursor_execute", self._explain)
        return self._found

    def _explain(self, connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            return
        values = parameters[0] if executemany else parameters
        aliases = dict(re.findall(r"ap4r_(\w+)`? AS (t)\b", statement)).items()
        names = {alias: f"ap4r_{table}" for table, alias in aliases}
        with connection.connection.dbapi_connection.cursor() as other:
            if connection.dialect.name == "postgresql":
                other.execute(f"EXPLAIN (FORMAT JSON) {statement}", values)
                [(plan,)] = other.fetchall()
                self._read_node((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
            else:
                other.execute(f"EXPLAIN {statement}", values)
                for row in other.fetchall():
                    self._read_row(names.get(row[2], row[2]), row[3], row[5], row[9] or "")

    def _read_row(self, table, access, key, extra):
        if table is None or not table.startswith("ap4r_"):
            return
        found = f"by {key.removeprefix('ap4r_')}" if access in BY_KEY else "read through"
        self._found.add(f"{table.removeprefix('ap4r_')} {found}")
        if "filesort" in extra or "temporary" in extra:
            self._found.add(f"{table.removeprefix('ap4r_')} sorted")

    def _read_node(self, node):
        table, index = node.get("Relation Name"), node.get("Index Name")
        if "Sort" in node["Node Type"] or "Hash" in node["Node Type"] or "Bitmap" in node["Node Type"]:
            self._found.add(node["Node Type"])
        if table is not None and node["Node Type"] not in ("ModifyTable",):
            name = table.removeprefix("ap4r_")
            key = (index or "").removeprefix("ap4r_").replace(f"{name}_pkey", "PRIMARY")
            self._found.add(f"{name} by {key}" if index and "Index Cond" in node else f"{name} read through")
        for child in node.get("Plans", ()):
            self._read_node(child)


def settle_some(store, leases):
    """Settle some leases with every outcome."""
    outcomes = [Delivered(), retry(60.0), PutBack(), dead()]
    some = [leases.pop() for _ in range(40)]
    settle(store, *((lease, outcomes[number % 4]) for number, lease in enumerate(some)), now=None)


def rescue(store):
    """Rescue the leases of a dispatcher without a heartbeat."""
    [beat] = [seen.beat for seen in store.look().beats if seen.owner == "one"]
    return lambda: store.rescue("one", beat)


def put_again(store):
    """Put what the store remembers, and what it only holds."""
    made = put(store, message("queue.1"), now=None)
    store.put(made)
    store.put(Put(new_id(), made.messages))


def actions(busy):
    """Return what each operation does, once it has been made ready."""
    store = busy.store
    letters = store.dead(limit=20)
    held = range(1, 590)
    dispatcher(store, "one", now=None)
    claim(store, "one", 20, now=None)
    return {
        "claim": lambda: claim(store, "others", 150, now=None),
        "claim with lanes held": lambda: claim(store, "others", 50, excluded=held, now=None),
        "promotion": lambda: claim(store, "others", 50, now=time.time() + YEARS),
        "settle": lambda: settle_some(store, busy.leases),
        "look": store.look,
        "beat": lambda: store.beat("one"),
        "put": lambda: put(store, message("queue.1"), *messages(5, "new", delay_seconds=60.0), now=None),
        "a put again": lambda: put_again(store),
        "rescue": rescue(store),
        "hand back": lambda: store.unregister("one"),
        "dead letters": lambda: store.dead(limit=20, after=letters[9].message.id),
        "dead letters of a queue": lambda: store.dead(limit=5, queue=letters[0].message.queue),
        "replay": lambda: store.replay([letter.message.id for letter in letters[:5]]),
        "prune": lambda: store.prune(now=time.time() + 1_000, limit=50),
    }


@pytest.mark.parametrize("operation", list(PLANS))
def test_keys_are_used(busy, operation, monkeypatch):
    """Each hot operation finds its rows by the keys that are meant for it; no backlog is read through or sorted."""
    found = Plans(busy.store, monkeypatch).of(actions(busy)[operation])
    assert found
    assert found <= PLANS[operation]
    assert found >= MUST.get(operation, set())


INDEXES = {
    "dead_lane": ("dead (lane, id)", "dead letters of a queue"),
    "puts_stored_at": ("puts (stored_at)", "prune"),
    "scheduled_lane": ("scheduled (lane)", "prune"),
}


@pytest.mark.parametrize("index", list(INDEXES))
def test_a_missing_index_shows(busy, figures, index, monkeypatch):
    """What is asserted of the plans does not hold without one of the indexes."""
    if figures != "true figures":
        pytest.skip("once is enough")
    made_on, operation = INDEXES[index]
    action = actions(busy)[operation]
    whose = f" ON ap4r_{index.partition('_')[0]}" if busy.server.kind == "mariadb" else ""
    busy.server.execute(f"DROP INDEX ap4r_{index}{whose}", "plans")
    try:
        found = Plans(busy.store, monkeypatch).of(action)
    finally:
        busy.server.execute(f"CREATE INDEX ap4r_{index} ON ap4r_{made_on}", "plans")
    assert not MUST[operation] <= found <= PLANS[operation]

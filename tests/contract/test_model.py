"""Whatever is done to a store in whatever order, it agrees with a model of a few lines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from ap4r.errors import OwnerLost
from ap4r.message.message import Delivery, Message, Put, new_id
from ap4r.outcome.outcome import Dead, Delivered, DeliveryRules, Dropped, History, Outcome, PutBack, Reason, RetryLater
from ap4r.outcome.retry_policy import after_crash
from ap4r.storage.store import Beat, Lease, Rescued, Settlement, SettleResult
from tests.contract.backends import BACKENDS, SHARED
from tests.support.factories import NOW, counts_of, failure, message

RULES = DeliveryRules(max_crashes=3, max_deliveries=5)
OWNERS = st.sampled_from(["one", "two"])
QUEUES = ["queue.a", "queue.b", "queue.c"]
OUTCOMES = st.one_of(
    st.just(Delivered()),
    st.just(PutBack()),
    st.just(Dropped(failure())),
    st.builds(RetryLater, st.just(failure()), st.sampled_from([0.0, 1.0, 100.0]), st.booleans()),
    st.builds(Dead, st.just(Reason.STATUS), st.just(failure()), st.booleans(), st.booleans()),
)
STATES = ("ready", "scheduled", "leased", "dead")


@dataclass(frozen=True)
class Known:
    """What the model knows of a message that is not gone. `calls` were begun; `lease` is the one that is held."""

    message: Message
    due_at: float
    calls: int = 0
    failures: int = 0
    crashes: int = 0
    lease: Lease | None = None
    owner: str = ""
    dead: bool = False
    called: bool = False

    def state(self, now: float) -> str:
        if self.dead:
            return "dead"
        if self.lease is not None:
            return "leased"
        return "ready" if self.due_at <= now else "scheduled"


class Model(RuleBasedStateMachine):
    """The store under test beside the model."""

    kind = ""
    template = Path()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.backend = BACKENDS[self.kind](Path(self.folder.name), self.template)
        settings_of_rules = {"max_crashes": RULES.max_crashes, "max_deliveries": RULES.max_deliveries}
        self.stores = [self.backend.open(**settings_of_rules) for _ in range(2)]
        # One connection for all looks at the tables: a new one for each step takes longer than all that the step does.
        self.tables = self.backend.engine().connect() if self.kind in SHARED else None
        self.turn = 0
        self.now = NOW
        self.known: dict[str, Known] = {}
        self.gone: set[str] = set()
        self.puts: list[tuple[Put, float]] = []
        self.owners: set[str] = set()
        self.leases: list[Lease] = []

    def teardown(self) -> None:
        try:
            self.nothing_is_lost()
        finally:
            if self.tables is not None:
                self.tables.close()
            for store in self.stores:
                store.close()
            self.folder.cleanup()

    @property
    def store(self):
        """Return the two stores of the database in turn: each must see what the other does."""
        self.turn += 1
        return self.stores[self.turn % 2]

    @rule(
        queues=st.lists(st.sampled_from(QUEUES), max_size=4),
        delivery=st.sampled_from(Delivery),
        delay_seconds=st.sampled_from([0.0, 0.0, 5.0, 500.0]),
        max_deliveries=st.sampled_from([None, None, 1, 2]),
    )
    def put(self, queues, delivery, delay_seconds, max_deliveries):
        described = [
            message(queue, delivery=delivery, delay_seconds=delay_seconds, max_deliveries=max_deliveries)
            for queue in queues
        ]
        made = Put(new_id(), tuple(described))
        self.puts.append((made, self.now))
        self.store.put(made, now=self.now)
        self.known.update({one.id: Known(one, self.now + delay_seconds) for one in described})

    @precondition(lambda self: self.puts)
    @rule(data=st.data())
    def put_again(self, data):
        made, stored_at = data.draw(st.sampled_from(self.puts))
        if self.now - stored_at < 900:
            self.store.put(made, now=self.now)

    @rule(owner=OWNERS)
    def register(self, owner):
        self.store.register(owner, owner, "1", "", now=self.now)
        self.owners.add(owner)

    @rule(owner=OWNERS)
    def beat(self, owner):
        try:
            self.store.beat(owner, now=self.now)
        except OwnerLost:
            assert owner not in self.owners
        else:
            assert owner in self.owners

    @rule(owner=OWNERS, limit=st.integers(0, 6), held=st.sets(st.sampled_from(QUEUES), max_size=2))
    def claim(self, owner, limit, held):
        lanes = self.store.lanes(range(1, 10))
        excluded = [lane for lane, (queue, _) in lanes.items() if queue in held]
        due = [one for one in self.known.values() if one.state(self.now) == "ready"]
        free = [one for one in due if one.message.queue not in held]
        try:
            leases = self.store.claim(owner, limit, excluded=excluded, now=self.now).leases
        except OwnerLost:
            assert owner not in self.owners
            return
        assert owner in self.owners
        assert len(leases) == min(limit, len(free))
        for lease in leases:
            one = self.known[lease.message.id]
            assert one in free, "it was not due, or is held"
            assert (lease.attempt, lease.failures, lease.crashes) == (one.calls + 1, one.failures, one.crashes)
            assert lease.message._replace(delay_seconds=0.0) == one.message._replace(delay_seconds=0.0)
            self.known[lease.message.id] = replace(one, lease=lease, owner=owner)
        assert len({lease.message.id for lease in leases}) == len(leases)
        self.leases += leases

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def settle(self, data):
        pairs = data.draw(st.lists(st.tuples(st.sampled_from(self.leases), OUTCOMES), min_size=1, max_size=4))
        answers = self.store.settle([Settlement(*pair) for pair in pairs], now=self.now)
        expected = [self.settled(*pair) for pair in pairs]
        assert answers == expected

    def settled(self, lease: Lease, outcome: Outcome) -> SettleResult:
        one = self.known.get(lease.message.id)
        if one is None or one.lease is None or one.lease.token != lease.token:
            return SettleResult.LEASE_LOST
        self.move(one, outcome)
        return SettleResult.SETTLED

    def move(self, one: Known, outcome: Outcome, crashed: int = 0) -> None:
        known = replace(one, lease=None, owner="", crashes=one.crashes + crashed)
        match outcome:
            case PutBack():
                pass
            case RetryLater(wait_seconds=wait_seconds, counts=counts):
                due_at = self.now + wait_seconds
                known = replace(known, calls=one.calls + 1, failures=one.failures + counts, due_at=due_at)
            case Dead(called=called, counts=counts):
                calls = one.calls + called
                known = replace(known, calls=calls, failures=one.failures + counts, dead=True, called=called)
            case _:
                del self.known[one.message.id]
                self.gone.add(one.message.id)
                return
        self.known[one.message.id] = known

    @rule(owner=OWNERS)
    def unregister(self, owner):
        held = [one for one in self.known.values() if one.owner == owner]
        assert self.store.unregister(owner, now=self.now) == len(held)
        self.owners.discard(owner)
        for one in held:
            self.move(one, PutBack())

    @rule(owner=OWNERS, stale=st.booleans())
    def rescue(self, owner, stale):
        beats = {seen.owner: seen.beat for seen in self.store.look(now=self.now).beats}
        if owner not in beats:
            return
        if stale and owner in self.owners:
            self.store.beat(owner, now=self.now)
            assert self.store.rescue(owner, beats[owner], now=self.now) is None
            return
        held = [one for one in self.known.values() if one.owner == owner]
        freed = dead = dropped = 0
        for one in held:
            history = History(
                one.message.delivery,
                one.calls + 1,
                one.failures,
                one.crashes,
                0.0,
                max_deliveries=one.message.max_deliveries,
            )
            outcome = after_crash(history, RULES)
            freed += isinstance(outcome, RetryLater)
            dead += isinstance(outcome, Dead)
            dropped += isinstance(outcome, Dropped)
            self.move(one, outcome, crashed=1)
        assert self.store.rescue(owner, beats[owner], now=self.now) == Rescued(freed, dead, dropped)
        self.owners.discard(owner)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), again=st.booleans())
    def replay(self, data, again):
        wanted = data.draw(st.lists(st.sampled_from(sorted(self.known)), max_size=3, unique=True))
        result = self.store.replay(wanted, again=again, now=self.now)
        dead = [self.known[one] for one in wanted if self.known[one].dead]
        refused = [one for one in dead if one.message.delivery is Delivery.ONCE and one.called and not again]
        assert sorted(result.refused) == sorted(one.message.id for one in refused)
        assert sorted(result.replayed) == sorted(one.message.id for one in dead if one not in refused)
        assert len(result.missing) == len(wanted) - len(dead)
        for one in dead:
            if one not in refused:
                self.known[one.message.id] = replace(one, dead=False, failures=0, crashes=0, due_at=self.now)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0, 1_000.0, 10_000.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(limit=st.sampled_from([1, 500]))
    def prune(self, limit):
        # Who is long silent and holds nothing is forgotten; here that may be anyone.
        assert 0 <= self.store.prune(limit=limit, now=self.now) <= limit
        self.owners &= {seen.owner for seen in self.store.look(now=self.now).beats if seen.beat >= 0}

    @invariant()
    def the_figures_agree(self):
        """Each message is counted once, in the state that the model has it in."""
        expected: dict[str, dict[str, int]] = {}
        for one in self.known.values():
            states = expected.setdefault(one.message.queue, dict.fromkeys(STATES, 0))
            states[one.state(self.now)] += 1
        status = self.store.status(now=self.now)
        assert {figures.queue: counts_of(figures) for figures in status.queues} == {
            queue: tuple(states.values()) for queue, states in expected.items()
        }

    @invariant()
    def the_look_agrees(self):
        """Due messages and holders of leases are reported correctly."""
        look = self.store.look(now=self.now)
        assert look.due == any(one.state(self.now) == "ready" for one in self.known.values())
        holders = {one.owner for one in self.known.values() if one.lease is not None}
        assert {seen.owner for seen in look.beats if seen.holds_leases} == holders
        assert {seen.owner for seen in look.beats} == self.owners | holders
        assert all(isinstance(seen, Beat) for seen in look.beats)

    @invariant()
    def each_id_stands_in_one_table(self):
        """A message stands in exactly one table of a state, and in the table of bodies; what is gone in none."""
        if self.tables is None:
            return
        with self.tables.begin():
            standing = " UNION ALL ".join(f"SELECT id FROM ap4r_{state}" for state in STATES)
            states = [bytes(row[0]).hex() for row in self.tables.execute(text(standing))]
            bodies = [bytes(row[0]).hex() for row in self.tables.execute(text("SELECT id FROM ap4r_messages"))]
            attempts = {bytes(row[0]).hex() for row in self.tables.execute(text("SELECT id FROM ap4r_attempts"))}
        known = sorted(one.replace("-", "") for one in self.known)
        assert sorted(states) == sorted(bodies) == known
        assert attempts <= set(known), "attempts of a message that is gone"

    def nothing_is_lost(self) -> None:
        """In the end every message that is neither gone nor dead is delivered, once."""
        self.now += 1e6
        store = self.store
        for owner in ("one", "two"):
            store.unregister(owner, now=self.now)
        store.register("last", "last", "1", "", now=self.now)
        delivered = []
        while leases := store.claim("last", 50, now=self.now).leases:
            delivered += [lease.message.id for lease in leases]
            store.settle([Settlement(lease, Delivered()) for lease in leases], now=self.now)
        assert sorted(delivered) == sorted(one.message.id for one in self.known.values() if not one.dead)
        assert not self.gone & set(delivered)


def run(kind: str, template: Path, examples: int, steps: int) -> None:
    """Search for a sequence of calls after which store and model disagree (hypothesis)."""
    machine = type("Machine", (Model,), {"kind": kind, "template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("kind", sorted(BACKENDS))
def test_store_and_model_agree(kind, template):
    """At most one live lease a message, nothing lost, attempts never fall, each message in exactly one state."""
    run(kind, template, examples=15, steps=25)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", sorted(BACKENDS))
def test_store_and_model_agree_for_long(kind, template):
    """The same, over many more and longer sequences."""
    run(kind, template, examples=120, steps=60)

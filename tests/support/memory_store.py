"""A store in this process's memory that keeps the contract of every store, for tests of what works with one.

It is run against the contract suite, so what it says of claims, leases and counters is what the databases say.
Its clock and its failures are given by the test: `MemoryDatabase.clock`, `MemoryStore.failing`.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ap4r.errors import MessageConflict, OwnerLost
from ap4r.message.message import Delivery, Message, Put
from ap4r.outcome.outcome import Dead, Delivered, Dropped, Failure, History, Outcome, PutBack, RetryLater
from ap4r.outcome.retry_policy import UNAUTHORISED, after_crash
from ap4r.settings.settings import Settings
from ap4r.storage.reports import is_alive
from ap4r.storage.store import (
    Beat,
    Claim,
    DeadLetter,
    DispatcherStatus,
    Held,
    Lease,
    Look,
    QueueStatus,
    Replayed,
    Rescued,
    Settlement,
    SettleResult,
    StoreRules,
    StoreStatus,
    TurnedAwayQueue,
)

_NAME_CHARACTERS = 255
_DETAIL_CHARACTERS = 1_000
_BELL_SECONDS = 60.0
_MEMBER_SECONDS = 3_600.0
_LANE_SECONDS = 7 * 86_400.0
_NO_BEAT = -1


@dataclass(eq=False)
class Record:
    """A message and everything that is known of it. `state` is ready, scheduled, leased or dead."""

    message: Message
    lane: int
    stored_at: float
    first_due_at: float
    due_at: float
    position: tuple[float, str]
    expires_at: float | None
    state: str = "scheduled"
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    called: bool = False
    token: bytes = b""
    owner: str = ""
    death: Dead | None = None
    died_at: float = 0.0
    attempts: list[Failure] = field(default_factory=list)

    def __lt__(self, other: Record) -> bool:
        return self.position < other.position


@dataclass
class Member:
    """A dispatcher as the store knows it."""

    name: str
    version: str
    bell: str
    seen_at: float
    beat: int = 0
    held: tuple[Held, ...] = ()
    held_at: float = 0.0


class MemoryDatabase:
    """What several stores of one process share."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.records: dict[str, Record] = {}
        self.ready: dict[int, list[Record]] = {}
        self.scheduled: list[tuple[float, str]] = []
        self.puts: dict[str, float] = {}
        self.members: dict[str, Member] = {}
        self.lanes: dict[tuple[str, str], int] = {}
        self.used: dict[int, float] = {}
        self.made_lanes = 0
        self.cursor = 0
        self.replays = 0

    def open(self, **settings: Any) -> MemoryStore:
        """Return a store on this database."""
        made = Settings(**settings)
        rules = StoreRules(
            put_memory_seconds=made.put_memory_seconds,
            intake_memory_seconds=made.intake_memory_seconds,
            delivery=made.delivery_rules,
        )
        return MemoryStore(self, rules)


class MemoryStore:
    """A `Store`. Every call is counted in `calls`; while `failing` is set, calls raise it."""

    def __init__(
        self, database: MemoryDatabase | None = None, rules: StoreRules | None = None, name: str = "memory"
    ) -> None:
        self.name = name
        self.database = database or MemoryDatabase()
        self.rules = rules or StoreRules()
        self.calls: Counter[str] = Counter()
        self.failing: Exception | None = None

    def prepare(self) -> None:
        """Nothing to make."""
        with self._call("prepare", None):
            pass

    def close(self) -> None:
        """Nothing to let go of."""

    def put(self, put: Put, *, now: float | None = None) -> None:
        """Store all messages of a put, once."""
        with self._call("put", now) as at:
            put_id = _canonical(put.id)
            ids = [_canonical(message.id) for message in put.messages]
            if put.each:
                self._put_each(put, at)
                return
            if put_id in self.database.puts:
                return
            self.database.puts[put_id] = at
            for message_id, message in zip(ids, put.messages, strict=True):
                if message_id not in self.database.records:
                    self._add(message_id, message, at)

    def put_together(self, puts: Sequence[Put]) -> list[Exception | None]:
        """Store several puts, telling what became of each."""
        answers: list[Exception | None] = []
        for put in puts:
            try:
                self.put(put)
                answers.append(None)
            except Exception as error:  # noqa: BLE001
                answers.append(error)
        return answers

    def _put_each(self, put: Put, at: float) -> None:
        remembered, fresh = self.database.puts, {}
        for message in put.messages:
            message_id, mark = _canonical(message.id), message.fingerprint.hex()
            if message_id not in remembered and message_id not in fresh:
                fresh[message_id] = (message, mark)
            elif mark not in remembered and (message_id not in fresh or fresh[message_id][1] != mark):
                raise MessageConflict(message.id)
        ahead = self.rules.intake_memory_seconds - self.rules.put_memory_seconds
        for message_id, (message, mark) in fresh.items():
            remembered[message_id] = remembered[mark] = at + ahead
            if message_id not in self.database.records:
                self._add(message_id, message, at)

    def register(self, owner: str, name: str, version: str, bell: str, *, now: float | None = None) -> None:
        """Register a dispatcher."""
        with self._call("register", now) as at:
            self.database.members.setdefault(owner, Member(name[:_NAME_CHARACTERS], version, bell, at))

    def unregister(self, owner: str, *, now: float | None = None) -> int:
        """Forget a dispatcher and hand its leases back."""
        with self._call("unregister", now) as at:
            self.database.members.pop(owner, None)
            held = self._held(owner)
            for record in held:
                self._apply(record, PutBack(), at)
            return len(held)

    def beat(self, owner: str, *, now: float | None = None) -> None:
        """Move the counter."""
        with self._call("beat", now) as at:
            self._beat(owner, at)

    def report_held(self, owner: str, held: Sequence[Held], *, now: float | None = None) -> None:
        """Note what a dispatcher holds."""
        with self._call("report_held", now) as at:
            if owner in self.database.members:
                self.database.members[owner].held = tuple(held)
                self.database.members[owner].held_at = at

    def claim(
        self,
        owner: str,
        limit: int,
        *,
        excluded: Collection[int] = (),
        yielding: Collection[int] = (),
        most_yielding: int | None = None,
        beat: bool = True,
        now: float | None = None,
    ) -> Claim:
        """Lease due messages, the lanes in turn."""
        with self._call("claim", now) as at:
            self._beat(owner, at, beat)
            self._promote(at)
            chosen = self._choose(limit, frozenset(excluded).union(yielding))
            left = limit - len(chosen)
            most = left if most_yielding is None else min(left, most_yielding)
            others = set(self.database.lanes.values()) - set(yielding)
            found = self._choose(most, frozenset(excluded).union(others)) if yielding else []
            waits = bool(yielding) and len(found) >= most and most < left
            chosen += found
            token = os.urandom(16)
            for record in chosen:
                self.database.ready[record.lane].remove(record)
                record.state, record.token, record.owner = "leased", token, owner
                record.attempt += 1
                self.database.used[record.lane] = at
            more = limit > 0 and (len(chosen) >= limit or waits)
            return Claim(tuple(_lease(record, at) for record in chosen), more, self._next_due(at))

    def settle(self, settlements: Sequence[Settlement], *, now: float | None = None) -> list[SettleResult]:
        """Write outcomes down."""
        with self._call("settle", now) as at:
            answers = []
            for settlement in settlements:
                record = self.database.records.get(_canonical(settlement.lease.message.id))
                if record is None or record.state != "leased" or record.token != settlement.lease.token:
                    answers.append(SettleResult.LEASE_LOST)
                else:
                    self._apply(record, settlement.outcome, at)
                    answers.append(SettleResult.SETTLED)
            return answers

    def look(self, *, now: float | None = None) -> Look:
        """Glance."""
        with self._call("look", now) as at:
            next_due = self._next_due(at)
            due = next_due == 0.0 or any(self.database.ready.values())
            owners = {record.owner for record in self._in("leased")}
            beats = [
                Beat(owner, member.beat, owner in owners, member.bell)
                for owner, member in self.database.members.items()
            ]
            orphans = sorted(owners - self.database.members.keys())
            return Look(due, next_due, (*beats, *(Beat(owner, _NO_BEAT, True) for owner in orphans)))

    def rescue(self, owner: str, beat: int, *, limit: int = 500, now: float | None = None) -> Rescued | None:
        """Rescue the leases of a dispatcher whose counter does not change."""
        with self._call("rescue", now) as at:
            member = self.database.members.get(owner)
            if member is not None and member.beat != beat:
                return None
            self.database.members.pop(owner, None)
            became: Counter[type] = Counter()
            for record in self._held(owner)[:limit]:
                outcome = after_crash(_history(record, at), self.rules.delivery)
                record.crashes += 1
                self._apply(record, outcome, at)
                became[type(outcome)] += 1
            return Rescued(freed=became[RetryLater], dead=became[Dead], dropped=became[Dropped])

    def lanes(self, ids: Collection[int]) -> dict[int, tuple[str, str]]:
        """Name lanes."""
        with self._call("lanes", None):
            wanted = set(ids)
            return {lane: names for names, lane in self.database.lanes.items() if lane in wanted}

    def local_address(self) -> str:
        """Return nothing: it is reached over no network."""
        with self._call("local_address", None):
            return ""

    def bells(self, *, now: float | None = None) -> list[str]:
        """Return the doorbells of those seen lately."""
        with self._call("bells", now) as at:
            members = self.database.members.values()
            return [member.bell for member in members if member.bell and at - member.seen_at < _BELL_SECONDS]

    def dead(self, *, limit: int = 100, after: str | None = None, queue: str | None = None) -> list[DeadLetter]:
        """List dead letters."""
        with self._call("dead", None):
            found = sorted(self._in("dead"), key=lambda record: _canonical(record.message.id))
            return [
                _letter(record)
                for record in found
                if (after is None or _canonical(record.message.id) > _canonical(after))
                and (queue is None or record.message.queue == queue)
            ][:limit]

    def replay(self, ids: Collection[str], *, again: bool = False, now: float | None = None) -> Replayed:
        """Put dead letters back."""
        with self._call("replay", now) as at:
            replayed, refused, missing = [], [], []
            for given in dict.fromkeys(_canonical(one) for one in ids):
                record = self.database.records.get(given)
                if record is None or record.state != "dead":
                    missing.append(given)
                elif record.message.delivery is Delivery.ONCE and record.called and not again:
                    refused.append(given)
                else:
                    self._replay(record, at)
                    replayed.append(given)
            return Replayed(tuple(replayed), tuple(refused), tuple(missing))

    def status(self, *, now: float | None = None) -> StoreStatus:
        """Return the figures."""
        with self._call("status", now) as at:
            queues: dict[str, Counter[str]] = {}
            oldest: dict[str, float] = {}
            for record in self.database.records.values():
                queue = record.message.queue
                ready = record.state == "ready" or (record.state == "scheduled" and record.due_at <= at)
                queues.setdefault(queue, Counter())["ready" if ready else record.state] += 1
                if ready:
                    oldest[queue] = max(oldest.get(queue, 0.0), at - record.due_at)
            figures = tuple(
                QueueStatus(
                    queue=queue,
                    **{state: counts[state] for state in ("ready", "scheduled", "leased", "dead")},
                    oldest_due_seconds=oldest.get(queue, 0.0),
                )
                for queue, counts in sorted(queues.items())
            )
            dispatchers = tuple(
                DispatcherStatus(
                    owner, member.name, member.version, at - member.seen_at, len(self._held(owner)),
                    is_alive(at - member.seen_at, len(self._held(owner))), _held(member, at),
                )
                for owner, member in self.database.members.items()
            )  # fmt: skip
            next_ones = [self.database.records[message_id] for _, message_id in self.database.scheduled[:1_000]]
            away = Counter(
                (*one.message.lane, one.attempts[-1].status)
                for one in next_ones
                if one.attempts and one.attempts[-1].status in UNAUTHORISED
            )
            turned_away = tuple(TurnedAwayQueue(*key, count) for key, count in sorted(away.items()))
            return StoreStatus(figures, dispatchers, max(oldest.values(), default=0.0), turned_away)

    def prune(self, *, limit: int = 500, now: float | None = None) -> int:
        """Forget old put ids, lanes long unused, and dispatchers long silent."""
        with self._call("prune", now) as at:
            puts = self.database.puts
            old = [put_id for put_id, put_at in puts.items() if at - put_at > self.rules.put_memory_seconds][:limit]
            for put_id in old:
                del puts[put_id]
            filled = {record.lane for record in self.database.records.values()}
            used = self.database.used
            lanes = [
                names
                for names, lane in self.database.lanes.items()
                if lane not in filled and at - used[lane] > _LANE_SECONDS
            ][: limit - len(old)]
            for names in lanes:
                del used[self.database.lanes.pop(names)]
            members = self.database.members
            silent = [owner for owner in members if at - members[owner].seen_at > _MEMBER_SECONDS]
            silent = [owner for owner in silent if not self._held(owner)][: limit - len(old) - len(lanes)]
            for owner in silent:
                del members[owner]
            return len(old) + len(lanes) + len(silent)

    @contextmanager
    def _call(self, kind: str, now: float | None) -> Iterator[float]:
        self.calls[kind] += 1
        if self.failing is not None:
            raise self.failing
        with self.database.lock:
            yield self.database.clock() if now is None else now

    def _add(self, message_id: str, message: Message, at: float) -> None:
        lane = self.database.lanes.get(message.lane)
        if lane is None:
            self.database.made_lanes += 1
            lane = self.database.lanes[message.lane] = self.database.made_lanes
        self.database.used[lane] = at
        due_at = max(at + message.delay_seconds, at if message.deliver_at is None else message.deliver_at)
        expires_at = None if message.expires_seconds is None else at + message.expires_seconds
        record = Record(message, lane, at, due_at, due_at, (due_at, message_id), expires_at)
        self.database.records[message_id] = record
        if due_at > at:
            self._schedule(record, due_at)
        else:
            self._make_ready(record)

    def _schedule(self, record: Record, due_at: float) -> None:
        record.state, record.due_at = "scheduled", due_at
        insort(self.database.scheduled, (due_at, _canonical(record.message.id)))

    def _make_ready(self, record: Record) -> None:
        record.state = "ready"
        insort(self.database.ready.setdefault(record.lane, []), record)

    def _promote(self, at: float) -> None:
        scheduled = self.database.scheduled
        while scheduled and scheduled[0][0] <= at:
            due_at, message_id = scheduled.pop(0)
            record = self.database.records[message_id]
            record.position = (due_at, message_id)
            self._make_ready(record)

    def _next_due(self, at: float) -> float | None:
        scheduled = self.database.scheduled
        return max(0.0, scheduled[0][0] - at) if scheduled else None

    def _choose(self, limit: int, excluded: frozenset[int]) -> list[Record]:
        database = self.database
        filled = sorted(lane for lane, records in database.ready.items() if records and lane not in excluded)
        turned = [lane for lane in filled if lane > database.cursor] + [
            lane for lane in filled if lane <= database.cursor
        ]
        lanes = turned[: max(0, limit)]
        if not lanes:
            return []
        database.cursor = lanes[-1] if len(lanes) == limit else lanes[0]
        waiting = {lane: list(database.ready[lane]) for lane in lanes}
        chosen: list[Record] = []
        for index, lane in enumerate(lanes):
            share = -(-(limit - len(chosen)) // (len(lanes) - index))
            chosen.extend(waiting[lane][:share])
            waiting[lane] = waiting[lane][share:]
        for lane in lanes:
            chosen.extend(waiting[lane][: limit - len(chosen)])
        return chosen

    def _beat(self, owner: str, at: float, moves: bool = True) -> None:
        member = self.database.members.get(owner)
        if member is None:
            raise OwnerLost(owner)
        if moves:
            member.beat += 1
            member.seen_at = at

    def _apply(self, record: Record, outcome: Outcome, at: float) -> None:
        record.token, record.owner = b"", ""
        match outcome:
            case Delivered() | Dropped():
                del self.database.records[_canonical(record.message.id)]
            case PutBack():
                record.attempt -= 1
                self._make_ready(record)
            case RetryLater(failure=failure, wait_seconds=wait_seconds, counts=counts):
                record.failures += counts
                record.called = True
                record.attempts.append(failure)
                if wait_seconds > 0:
                    self._schedule(record, at + wait_seconds)
                else:
                    self._make_ready(record)
            case Dead(called=called, counts=counts):
                record.failures += counts
                record.attempt -= 0 if called else 1
                record.called = called
                record.state, record.death, record.died_at = "dead", outcome, at

    def _replay(self, record: Record, at: float) -> None:
        record.failures = record.crashes = 0
        record.first_due_at = record.due_at = at
        record.expires_at = None
        record.position = (float("-inf"), f"{self.database.replays:020}")
        self.database.replays += 1
        self._make_ready(record)

    def _in(self, state: str) -> list[Record]:
        return [record for record in self.database.records.values() if record.state == state]

    def _held(self, owner: str) -> list[Record]:
        return [record for record in self._in("leased") if record.owner == owner]


def _held(member: Member, at: float) -> tuple[Held, ...]:
    passed = at - member.held_at
    return tuple(
        replace(
            one, since_seconds=one.since_seconds + passed, until_seconds=max(0.0, one.until_seconds - passed)
        )
        for one in member.held
    )  # fmt: skip


def _canonical(given: str) -> str:
    return str(uuid.UUID(given))


def _history(record: Record, at: float) -> History:
    return History(
        delivery=record.message.delivery,
        attempt=record.attempt,
        failures=record.failures,
        age_seconds=max(0.0, at - record.first_due_at),
        max_deliveries=record.message.max_deliveries,
        crashes=record.crashes,
    )


def _lease(record: Record, at: float) -> Lease:
    return Lease(
        message=record.message,
        lane=record.lane,
        token=record.token,
        attempt=record.attempt,
        failures=record.failures,
        crashes=record.crashes,
        age_seconds=max(0.0, at - record.first_due_at),
        expires_in_seconds=None if record.expires_at is None else record.expires_at - at,
    )


def _letter(record: Record) -> DeadLetter:
    assert record.death is not None
    failure = record.death.failure
    return DeadLetter(
        message=record.message,
        reason=record.death.reason,
        status=None if failure is None else failure.status,
        detail="" if failure is None else failure.detail.encode("utf-8", "replace").decode()[:_DETAIL_CHARACTERS],
        attempt=record.attempt,
        failures=record.failures,
        called=record.called,
        died_at=record.died_at,
        stored_at=record.stored_at,
    )

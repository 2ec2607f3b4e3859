"""Two dispatchers on one store: they share the work, and one that was away does nothing that is no longer its own."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from tests.support import storefile
from tests.support.ledger import compare, read_ledger
from tests.support.load import Load, Wish, without_end
from tests.support.ports import StuckPort
from tests.support.probe import hold_for, let_pass, wait_until
from tests.support.processes import Process, Processes
from tests.support.stalls import Stalls
from tests.support.system import System
from tests.support.target import ScriptedTarget

COMMITS, MESSAGES = 120, 8
CONCURRENCY = 4
ROUNDS = 3
POLL_SECONDS = 5.0
#: A dispatcher is considered dead after 15 s without a heartbeat; looking takes a second, and the machine may be busy.
TAKEN_FOR_DEAD_SECONDS = 25.0
#: So long are calls allowed to last, that nothing but the pause ends them.
PATIENT = {"AP4R_TIMEOUT_SECONDS": "100", "AP4R_CONNECT_TIMEOUT_SECONDS": "100"}


@pytest.fixture
def stuck() -> Iterator[StuckPort]:
    """A port where connections wait until it is opened."""
    port = StuckPort()
    yield port
    port.close()


def test_two_share_the_work(system: System, target: ScriptedTarget, measured: Callable[[str], None]):
    """Of many commits each of two dispatchers delivers a fair part, and no message is called twice."""
    arguments = ("--concurrency", str(CONCURRENCY))
    system.dispatcher(*arguments, name="one", app_url=target.door("one"))
    system.dispatcher(*arguments, name="two", app_url=target.door("two"))
    sent = []
    for _ in range(COMMITS):
        sent += system.send(*["/work?answer=slow:0.02"] * MESSAGES)
        # Spread over some ten seconds: one that stands still for two of them comes to a fair part all the same.
        let_pass(0.06)
    system.wait_until_empty()
    assert Counter(target.ids()) == Counter(sent)
    parts = Counter(request.door for request in target.requests)
    measured(f"{parts['one']} and {parts['two']} of {len(sent)}")
    assert min(parts["one"], parts["two"]) >= len(sent) // 4


@pytest.mark.timeout(120)
def test_the_other_joins_in_a_backlog(
    processes: Processes, target: ScriptedTarget, measured: Callable[[str], None], stalls: Stalls
):
    """Of one commit that is too much for one dispatcher, the other takes its part at its next poll at the latest."""
    arguments = ("--concurrency", str(CONCURRENCY))
    doors = {name: target.door(name) for name in ("one", "two")}
    everything, soon, late = [], [], []
    for number in range(ROUNDS):
        # Each round starts fresh: for a while after a backlog dispatchers look at each other's leases more often.
        system = System(processes, target, processes.folder / f"{number}.db")
        dispatchers = [system.dispatcher(*arguments, name=f"{name}-{number}", app_url=doors[name]) for name in doors]
        # One that is full stays full until the gate opens: it cannot come to the end of the backlog by itself.
        gate = f"gate-{number}"
        sent = system.send(*[f"/work?answer=hold:{gate}"] * (3 * CONCURRENCY))
        sent_at = time.monotonic()
        first = wait_until(lambda sent=sent: _both_called(target, sent), "both have called", timeout_seconds=20)
        target.open(gate)
        system.wait_until_empty()
        for dispatcher in dispatchers:
            dispatcher.kill()
        everything += sent
        soon.append(min(first) - sent_at)
        late.append(max(first) - sent_at - stalls.within(sent_at, max(first)))
    assert Counter(target.ids()) == Counter(everything)
    measured(f"the first called after {_listed(soon)} s, the other after {_listed(late)} s")
    # A dispatcher that misses polls misses one each time; a short stall of the machine spoils one round.
    assert statistics.median(late) < POLL_SECONDS + 1


def _both_called(target: ScriptedTarget, sent: list[str]) -> list[float]:
    """Return when each of two dispatchers made its first call for these messages; empty until both have."""
    first: dict[str, float] = {}
    for message in sent:
        for request in target.requests_for(message):
            first[request.door] = min(request.at, first.get(request.door, request.at))
    return list(first.values()) if len(first) == 2 else []


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in seconds)


@pytest.mark.timeout(120)
def test_a_paused_dispatcher_settles_and_calls_nothing_stale(
    system: System, target: ScriptedTarget, stuck: StuckPort, measured: Callable[[str], None]
):
    """After SIGSTOP past its lease and SIGCONT, a dispatcher's answers and unsent calls count for nothing any more.

    It was stopped with calls in flight, and with one between claim and send: its connection comes about only while
    it is stopped, so that sending is the first thing it could do.
    """
    door = target.door()
    first = system.dispatcher(name="first", app_url=stuck.url, **PATIENT)
    settled_by_other, failed_by_other, held_by_other = system.send(
        f"{door}/work?answer=hold:late,200",
        f"{door}/work?answer=hold:late,500,200",
        f"{door}/work?answer=hold:late,hold:other",
    )
    [unsent] = system.send("/work")
    for message in (settled_by_other, failed_by_other, held_by_other):
        target.wait_for(1, message=message)
    wait_until(lambda: unsent in storefile.leases_of(system.store), "the unsent call is claimed")
    [first_owner] = storefile.owners(system.store)
    system.dispatcher(name="second", app_url=target.door("second"), **PATIENT)
    [second_owner] = set(storefile.owners(system.store)) - {first_owner}

    _pause(first, system)
    stuck.open()
    for message in (settled_by_other, failed_by_other, held_by_other):
        target.wait_for(2, message=message, timeout_seconds=TAKEN_FOR_DEAD_SECONDS)
    assert [request.door for request in target.wait_for(1, message=unsent)] == ["second"]
    wait_until(lambda: stuck.connections > 0, "the connection of the stopped one has come about", timeout_seconds=40)
    target.open("late")
    first.go_on()

    wait_until(
        lambda: (
            {second_owner} < set(storefile.owners(system.store)) and first_owner not in storefile.owners(system.store)
        ),
        "the first has registered under a new owner id",
        timeout_seconds=20,
        otherwise=lambda: str(storefile.owners(system.store)),
    )
    hold_for(
        2.0,
        lambda: stuck.bytes_received == 0 and storefile.leases_of(system.store).get(held_by_other) == second_owner,
        "no stale call, and the lease of the other",
    )
    target.open("other")
    # Its stale “delivered” must not have swallowed the repeat of what failed with the other.
    target.wait_for(3, message=failed_by_other, timeout_seconds=30)
    system.wait_until_empty()
    calls = Counter(target.ids())
    assert calls == {settled_by_other: 2, failed_by_other: 3, held_by_other: 2, unsent: 1}
    assert stuck.bytes_received == 0
    assert storefile.count(system.store, "dead") == 0
    assert "Traceback" not in first.output, first.tail


@pytest.mark.timeout(120)
def test_a_paused_dispatcher_goes_on_under_a_new_name(system: System, target: ScriptedTarget):
    """A dispatcher that was considered dead while it held calls works again after SIGCONT."""
    door = target.door()
    first = system.dispatcher(name="first", app_url=target.door("first"), **PATIENT)
    [held] = system.send(f"{door}/work?answer=hold:never,200")
    target.wait_for(1, message=held)
    [owner] = storefile.owners(system.store)
    second = system.dispatcher(name="second", app_url=target.door("second"))
    _pause(first, system)
    target.wait_for(2, message=held, timeout_seconds=TAKEN_FOR_DEAD_SECONDS)
    second.kill()
    first.go_on()
    wait_until(lambda: owner not in storefile.owners(system.store), "it has a new owner id", timeout_seconds=20)
    [fresh] = system.send("/work")
    assert [request.door for request in target.wait_for(1, message=fresh)] == ["first"]
    assert target.wait_for(1, message=fresh)[0].attempt == 1


def _pause(dispatcher: Process, system: System) -> None:
    """Stop one that does not hold the file's write lock, which would block all others until it continues."""
    with storefile.locked(system.store):
        dispatcher.pause()
        let_pass(0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pauses_at_random_moments(processes: Processes, measured: Callable[[str], None]):
    """Under load, each is stopped in turn for longer than its lease: nothing is lost, unexpected or stale."""
    system = System(processes, ScriptedTarget())
    system.target = ScriptedTarget(system.ledger_file("target"))
    with system.target:
        system.web()
        dispatchers = [system.dispatcher("--concurrency", "16", name=name) for name in ("one", "two")]
        load = Load(system.web_port, system.ledger_file("clients"), threads=4)
        wishes = [Wish("", "one_chunk", answer=answer) for answer in ("200", "slow:0.3", "slow:0.05")]
        load.start(without_end(*wishes), before=lambda _: let_pass(0.03))
        pauses = []
        for number in range(int(os.environ.get("AP4R_ROUNDS", "12")) // 2):
            let_pass(random.uniform(0.5, 2.0))
            dispatcher = dispatchers[number % 2]
            began_at = time.monotonic()
            _pause(dispatcher, system)
            let_pass(18.0)
            dispatcher.go_on()
            pauses.append((began_at, time.monotonic()))
        load.stop()
        system.wait_until_empty(60)
    found = compare(read_ledger(system.ledger))
    measured(f"{len(pauses)} pauses: {found}")
    assert not found.lost and not found.unexpected and not found.false_successes, str(found)
    assert not found.attempts_fell, str(found)
    for message in found.repeated:
        for earlier, later in pairwise(found.arrivals[message]):
            assert any(earlier.at - 1 <= began and later.at <= ended + 20 for began, ended in pauses), message

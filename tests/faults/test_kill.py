"""kill -9 at any moment: nothing acknowledged is lost, nothing aborted is delivered, and little is repeated.

The ledger is kept by the servers at both ends. A call is repeated only if its answer was not settled at a kill.
"""

from __future__ import annotations

import os
import random
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.support import storefile
from tests.support.application import ABORTS, COMMITS
from tests.support.ledger import Comparison, Line, Verdict, compare, read_ledger
from tests.support.load import Load, Wish, without_end
from tests.support.probe import let_pass, wait_until
from tests.support.processes import Processes
from tests.support.stalls import Stalls
from tests.support.system import System
from tests.support.target import ScriptedTarget

CONCURRENCY = 16
BATCH = 200  #: what a dispatcher settles at once at the most
#: How old a call can be that is in flight or unsettled: the slowest answer, the settling, and a loaded machine.
UNSETTLED_SECONDS = 5.0
VICTIMS = ("web", "worker", "dispatcher", "dispatcher", "both")
PACE_SECONDS = 0.03
SOON = {"AP4R_BACKOFF_CAP_SECONDS": "1"}  #: what failed is called again
NOTICED_SECONDS = 20.0


def _wishes() -> list[Wish]:
    commits = [
        Wish("", how, answer=answer) for how in COMMITS for answer in ("200", "slow:0.4", "500,200", "slow:0.05")
    ]
    aborts = [Wish("", how) for how in ABORTS if how != "endless"]
    once = [Wish("", "one_chunk", answer=answer, delivery="once") for answer in ("200", "slow:0.4")] * 3
    wishes = [*commits, *once, *aborts, Wish("", "endless", leave_after=1), Wish("", "server_error", on="failure")]
    random.shuffle(wishes)
    return wishes


def _pace(_: Wish) -> None:
    let_pass(PACE_SECONDS)


def _run(system: System, rounds: int) -> list[float]:
    """Kill and restart under load; returns the instants at which a dispatcher was killed."""
    kills = system.ledger_file("kills")
    arguments = ("--concurrency", str(CONCURRENCY))
    web, dispatcher = system.web(), system.dispatcher(*arguments, **SOON)
    load = Load(system.web_port, system.ledger_file("clients"), threads=6)
    load.start(without_end(*_wishes()), before=_pace)
    killed_at = []
    for number in range(rounds):
        # Now and then a dispatcher lives long enough to find what the one before it has left.
        let_pass(24.0 if number % 12 == 11 else random.uniform(0.2, 3.0))
        victim = random.choice(VICTIMS) if number >= len(VICTIMS) else VICTIMS[number]
        kills.write("kill", victim=victim, round=number)
        if victim == "worker":
            web.kill_child()
        if victim in ("web", "both"):
            web.kill()
        if victim in ("dispatcher", "both"):
            dispatcher.kill()
            killed_at.append(time.monotonic())
            dispatcher = system.dispatcher(*arguments, wait=False, **SOON)
        if victim in ("web", "both"):
            web = system.web()
    # Enough must have been asked for on both sides of the kills, on a slow machine too.
    wait_until(
        lambda: sum(asked.status == 200 for _, asked in list(load.asked)) > 40 * rounds,
        "enough was asked for",
        timeout_seconds=60,
        every_seconds=0.5,
    )
    load.stop()
    assert web.running and dispatcher.running
    system.wait_until_empty(60)
    return killed_at


def _check(found: Comparison, killed_at: list[float], lines: list[Line], stalls: Stalls) -> None:
    assert not found.lost, str(found)
    assert not found.unexpected, str(found)
    assert not found.false_successes, str(found)
    assert not found.attempts_fell, f"{found.attempts_fell}: {[found.arrivals[id] for id in found.attempts_fell]}"
    by_kill: Counter[int] = Counter()
    for message in found.repeated:
        for first, again in pairwise(found.arrivals[message]):
            if not first.well:
                continue
            kill = bisect_left(killed_at, first.at)
            assert kill < len(killed_at) and killed_at[kill] < again.at, (
                f"{message} was called at {first.at} and again at {again.at}, with no kill between: {killed_at}"
            )
            stood_still = stalls.within(first.at, killed_at[kill])
            assert killed_at[kill] - first.at < UNSETTLED_SECONDS + stood_still, (
                f"{message} was settled long before the kill"
            )
            by_kill[kill] += 1
    assert all(count <= CONCURRENCY + BATCH for count in by_kill.values()), by_kill
    # The test itself must have done something: much was committed, much aborted, on both sides of kills.
    assert found.counts[Verdict.COMMIT] > 20 * len(killed_at)
    assert found.counts[Verdict.ABORT] > 5 * len(killed_at)
    assert {line["verdict"] for line in lines if line["kind"] == "inner"} == {"commit", "abort"}


def _kill_for(rounds: int, processes: Processes, measured: Callable[[str], None], stalls: Stalls) -> None:
    system = System(processes, ScriptedTarget())
    system.target = ScriptedTarget(system.ledger_file("target"))
    with system.target:
        killed_at = _run(system, rounds)
        dead = system.dead()
    lines = read_ledger(system.ledger)
    found = compare(lines, dead)
    measured(f"{rounds} rounds, {len(killed_at)} kills of the dispatcher: {found}, {len(dead)} dead `once` messages")
    _check(found, killed_at, lines, stalls)
    once = {line["message"] for line in lines if line["kind"] == "put" and line["delivery"] == "once"}
    assert once & set(found.arrivals) - set(dead), "no `once` message was delivered"
    assert not [message for message in once if len(found.arrivals.get(message, [])) > 1], "`once` was called twice"
    # Only what may go `once` and was under way at a kill is given up, because it is unknown whether it was called.
    assert set(dead) <= once and {letter["reason"] for letter in dead.values()} <= {"unknown"}, dead


@pytest.mark.timeout(180)
def test_nothing_is_lost_in_a_few_kills(processes: Processes, measured: Callable[[str], None], stalls: Stalls):
    """Web process, worker and dispatcher are killed in 8 rounds under load: no message is lost or unexpected.

    What may go `once` is never called twice; under way at a kill, it is a dead letter.
    """
    _kill_for(8, processes, measured, stalls)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_nothing_is_lost_in_many_kills(processes: Processes, measured: Callable[[str], None], stalls: Stalls):
    """The same in 50 rounds, or as many as AP4R_ROUNDS says."""
    _kill_for(int(os.environ.get("AP4R_ROUNDS", "50")), processes, measured, stalls)


@pytest.mark.timeout(90)
def test_what_a_killed_dispatcher_held_is_soon_called_again(
    processes: Processes, target: ScriptedTarget, measured: Callable[[str], None], stalls: Stalls
):
    """Calls in flight at a kill are repeated within 20 s: by another dispatcher, or by the same one restarted.

    Measured from the kill to the arrival at the target of the second call, on the machine's monotonic clock. A lone
    dispatcher is restarted at once, and the time until it is known in the store is allowed on top of the 20 s.
    """
    alone = System(processes, target, processes.folder / "alone.db")
    company = System(processes, target, processes.folder / "company.db")
    held = "/work?answer=hold:never,200"
    systems = {"alone": alone, "company": company}
    ids, first = {}, {}
    for name, system in systems.items():
        first[name] = system.dispatcher(name=f"first-{name}")
        ids[name] = system.send(*[held] * 3)[0]
        target.wait_for(1, message=ids[name])
    company.dispatcher(name="second-company")
    killed_at = {}
    for name, dispatcher in first.items():
        dispatcher.kill()
        killed_at[name] = time.monotonic()
    alone.dispatcher(name="second-alone")
    start_seconds = time.monotonic() - killed_at["alone"]
    took = {}
    for name in systems:
        again = target.wait_for(2, message=ids[name], timeout_seconds=NOTICED_SECONDS + start_seconds + 10)[1]
        took[name] = again.at - killed_at[name] - stalls.within(killed_at[name], again.at)
        assert again.attempt == 2
    measured(
        f"called again {took['company']:.1f} s after the kill by another dispatcher, {took['alone']:.1f} s by one "
        f"restarted alone ({start_seconds:.1f} s of them until it was known in the store)"
    )
    assert took["company"] <= NOTICED_SECONDS
    assert took["alone"] <= NOTICED_SECONDS + start_seconds
    for system in systems.values():
        wait_until(lambda system=system: storefile.count(system.store) == 0, "all are settled", timeout_seconds=10)

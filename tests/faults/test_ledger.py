"""Two thousand requests over real processes, a third of them failing in every way a request can.

The ledger is kept by the servers at both ends: exactly the messages whose verdict was COMMIT arrive.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.support import storefile
from tests.support.application import ABORTS, COMMITS
from tests.support.ledger import Comparison, LedgerFile, Line, Verdict, compare, read_ledger
from tests.support.load import Load, Wish
from tests.support.probe import let_pass, wait_until
from tests.support.system import System
from tests.support.target import ScriptedTarget

REQUESTS = 2_000
DEADLINE_SECONDS = 1.0  #: of the store; a lock that is held longer refuses
LOCKED_SECONDS = 2.5
LOCKS = 2


def _wishes(count: int, chance: random.Random) -> Iterator[Wish]:
    """Two thirds that succeed in every way, one third that fails in every way, shuffled."""
    commits, aborts = list(COMMITS), [*ABORTS, "failed_transaction"]
    wishes = []
    for number in range(count):
        failing = number % 3 == 0
        how = (aborts if failing else commits)[number // 3 % len(aborts if failing else commits)]
        on = ("success", "success", "success", "failure", "always")[number // 30 % 5]
        leave_after = chance.choice((1, 1_000, 200_000)) if how == "endless" else None
        method = "HEAD" if how in ("one_chunk", "late_generator") and number % 7 == 0 else "GET"
        wishes.append(Wish(f"{number:05}-{how}", how, on, 1 + number % 3, leave_after=leave_after, method=method))
    chance.shuffle(wishes)
    return iter(wishes)


@pytest.mark.timeout(150)
def test_exactly_what_was_committed_arrives(processes, tmp_path, measured: Callable[[str], None]):
    """Of 2,000 requests exactly the messages whose verdict was COMMIT arrive, each at least once."""
    seed = random.randrange(1_000_000)
    target_ledger = LedgerFile(tmp_path / "ledger" / "target.jsonl")
    with ScriptedTarget(target_ledger) as target:
        system = System(processes, target)
        dispatcher = system.dispatcher(AP4R_STORE_DEADLINE_SECONDS=str(DEADLINE_SECONDS))
        system.web(AP4R_STORE_DEADLINE_SECONDS=str(DEADLINE_SECONDS))
        locks = system.ledger_file("locks")
        load = Load(system.web_port, system.ledger_file("clients"))
        began_at = time.monotonic()
        load.start(_wishes(REQUESTS, random.Random(seed)))
        for done in range(1, LOCKS + 1):
            wait_until(
                lambda done=done: len(load.asked) > done * REQUESTS // (LOCKS + 2),
                "the load goes on",
                timeout_seconds=60,
            )
            since = time.monotonic()
            with storefile.locked(system.store):
                let_pass(LOCKED_SECONDS)
                wait_until(
                    lambda done=done: sum(asked.status == 503 for _, asked in list(load.asked)) >= done,
                    "a request has met the locked store",
                )
            locks.write("locked", since=since)
        load.join()
        seconds = time.monotonic() - began_at
        # A client that leaves is noticed later, and what follows its failure is stored then.
        wait_until(lambda: _concluded(system) >= {wish.name for wish, _ in load.asked}, "all requests have their end")
        system.wait_until_empty(60)
        assert dispatcher.running
    # Closed, the target has written down everything that it has said.
    found = compare(read_ledger(system.ledger))
    measured(f"{found}; {REQUESTS / seconds:.0f} requests/s, seed {seed}")
    _check(found, read_ledger(system.ledger), load)
    assert storefile.bodies(system.store) == 0, "bodies of settled messages are left behind"


def _concluded(system: System) -> set[str]:
    return {line["request"] for line in read_ledger(system.ledger) if line["kind"] == "outer"}


def _check(found: Comparison, lines: list[Line], load: Load) -> None:
    assert not found.lost, str(found)
    assert not found.unexpected, str(found)
    assert not found.false_successes, str(found)
    assert not found.repeated, f"nothing was killed, so nothing may be repeated: {found}"
    # The test itself must have done what it says: every way occurred, and ended as it is meant to.
    by_request = {line["request"]: line for line in lines if line["kind"] == "inner"}
    ends = {(name[6:], line["verdict"]) for name, line in by_request.items() if name[:5].isdigit()}
    assert ends == {(how, "commit") for how in [*COMMITS, "failed_transaction"]} | {(how, "abort") for how in ABORTS}
    refused = Counter(asked.status for wish, asked in load.asked if wish.how in COMMITS)
    assert refused[503] > 0, f"no request met the locked store: {refused}"
    assert found.counts[Verdict.COMMIT] > REQUESTS // 2
    assert found.counts[Verdict.ABORT] > REQUESTS // 3
    # Nothing was killed: in doubt may be only what a failing request sent while the store was locked.
    assert found.counts[Verdict.DOUBT] <= found.counts[Verdict.COMMIT] // 50, str(found)

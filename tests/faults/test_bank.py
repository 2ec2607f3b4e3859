"""Two databases, two web applications and a dispatcher between them, all of them killed at random.

Every transfer that was acknowledged is in the orders once and in the ledger once, and both are equal to the cent.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.branch import ACCOUNTS, Branch
from tests.support.chaos import Chaos
from tests.support.databases import MariaDB, PostgreSQL, Server
from tests.support.probe import wait_until
from tests.support.transfers import Customers, Transfer, balances, check_invariants, make_transfers

SHORT_SECONDS, LONG_SECONDS = 120, 600
TRANSFERS = 5_000
FILES_TRANSFERS, FILES_SECONDS = 500, 30
Say = Callable[[str], None]


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """The databases of the orders and of the ledger, on servers of their own that may be killed."""
    made: list[Server] = []
    try:
        for kind in (MariaDB, PostgreSQL):
            made.append(kind())
            made[-1].start()
        yield made[0], made[1]
    finally:
        for server in made:
            server.remove()


@pytest.mark.timeout(1_500)
def test_the_bank_loses_and_doubles_nothing(processes, servers, measured: Say):
    """5,000 transfers while everything is killed for two minutes: both sums are equal, none is missing, none twice."""
    branch = Branch(processes, (servers[0].make("orders"), servers[1].make("ledger")))
    _hold(branch, servers, TRANSFERS, SHORT_SECONDS, measured)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_bank_loses_and_doubles_nothing_for_long(processes, servers, measured: Say):
    """The same for ten minutes."""
    branch = Branch(processes, (servers[0].make("orders"), servers[1].make("ledger")))
    _hold(branch, servers, TRANSFERS, LONG_SECONDS, measured)


@pytest.mark.skipif(bool(os.environ.get("CI")), reason="where there are servers, the bank with servers is enough")
@pytest.mark.timeout(600)
def test_the_bank_in_two_files(processes, tmp_path, measured: Say):
    """The same with two SQLite files, for a machine without servers: fewer transfers, and no database to kill."""
    branch = Branch(processes, (f"sqlite:///{tmp_path}/orders.db", f"sqlite:///{tmp_path}/ledger.db"))
    _hold(branch, (), FILES_TRANSFERS, FILES_SECONDS, measured)


def _hold(branch: Branch, servers: tuple[Server, ...], count: int, seconds: float, measured: Say) -> None:
    seed = int(os.environ.get("BANK_SEED") or random.randrange(1_000_000))
    chance = random.Random(seed)
    branch.open()
    branch.start()
    # A little slower than the kills last, so that there is work to the end of them.
    customers = Customers(branch.ports["orders"], make_transfers(count, list(ACCOUNTS), chance), seconds=seconds * 1.05)
    chaos = Chaos(branch.victims(chance, *servers), chance)
    began_at = time.monotonic()
    try:
        customers.start()
        chaos.rage(seconds)
        raged_seconds, in_time = time.monotonic() - began_at, len(customers.acknowledged)
        wait_until(lambda: customers.done, "every order is acknowledged", timeout_seconds=900, every_seconds=0.5)
    finally:
        customers.leave()
        measured(f"seed {seed}; kills: {_told(chaos.kills)}; answers to customers: {_told(customers.answers)}")
    assert customers.refusals == []
    branch.wait_until_drained()
    came = branch.answers("ledger", "/async/transfer")
    told_back = branch.answers("orders", "/async/confirm")
    measured(
        f"{len(customers.acknowledged)} transfers ({in_time} during {raged_seconds:.0f} s of kills), all booked after "
        f"{time.monotonic() - began_at:.0f} s; in doubt: {customers.answers.total() - count}; "
        f"the ledger answered {_told(came)}, of which 200 are repeats; the confirmations {_told(told_back)}"
    )
    orders, bookings = branch.orders(), branch.bookings()
    measured(f"cents ordered {sum(one.cents for one in orders)}, booked {sum(one.cents for one in bookings)}")
    assert len(customers.acknowledged) == count
    assert check_invariants(customers.acknowledged, orders, bookings, branch.accounts(), ACCOUNTS) == []
    assert branch.dead() == 0
    assert branch.confirmations() == {1: count}
    assert all(chaos.kills.values())


def _told(counted: dict[str, int]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counted.items())) or "none"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ledger", ["remembering", "forgetful"])
def test_without_the_inbox_the_bank_is_wrong(processes, tmp_path, measured: Say, ledger):
    """Killed right behind its commit, the ledger books once; without the inbox the same kills book twice."""
    branch = Branch(
        processes,
        (f"sqlite:///{tmp_path}/orders.db", f"sqlite:///{tmp_path}/ledger.db"),
        ledger_application=f"tests.support.crashing_ledger:{ledger}()",
        LEDGER_DEATHS="5",
    )
    branch.open()
    branch.start()
    transfers = make_transfers(40, list(ACCOUNTS), random.Random(1))
    customers = Customers(branch.ports["orders"], transfers, seconds=4, threads=2)
    customers.start()
    wait_until(lambda: customers.done, "every order is acknowledged", timeout_seconds=60)
    branch.wait_until_drained(60)
    wrong = check_invariants(customers.acknowledged, branch.orders(), branch.bookings(), branch.accounts(), ACCOUNTS)
    measured(f"{len(wrong)} things are wrong; the last: {wrong[-1:]}")
    if ledger == "remembering":
        assert wrong == []
        assert branch.answers("ledger", "/async/transfer")["200"] >= 5
    else:
        assert len([one for one in wrong if one.startswith("booked 2 times")]) >= 5
        assert any("cents, the ledger has booked" in one for one in wrong)
        assert "the accounts are not what the orders make of them" in wrong


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(lambda o, b: (o[1:], b), "acknowledged and in the orders 0 times", id="an order is lost"),
        pytest.param(lambda o, b: ([*o, o[0]], b), "acknowledged and in the orders 2 times", id="ordered twice"),
        pytest.param(lambda o, b: (o, b[1:]), "in the orders and not booked", id="a booking is lost"),
        pytest.param(lambda o, b: (o, [*b, b[0]]), "booked 2 times", id="booked twice"),
        pytest.param(lambda o, b: (o, [*b, Transfer("x", 1, 2, 5)]), "booked and not in the orders", id="unexpected"),
        pytest.param(lambda o, b: (o, [b[0], *b[:-1]]), "the ledger has booked", id="one for another"),
    ],
)
def test_the_invariants_find_what_is_wrong(spoil, told):
    """Each way in which orders and ledger can differ is seen, and equal ones are good."""
    transfers = make_transfers(5, list(ACCOUNTS), random.Random(3))
    orders, bookings = spoil(transfers, transfers)
    accounts = balances(bookings, ACCOUNTS)
    assert any(told in one for one in check_invariants(transfers, orders, bookings, accounts, ACCOUNTS))
    assert check_invariants(transfers, transfers, transfers, balances(transfers, ACCOUNTS), ACCOUNTS) == []
    assert check_invariants(transfers, transfers, transfers, ACCOUNTS, ACCOUNTS) != []

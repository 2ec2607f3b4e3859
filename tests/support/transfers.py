"""Transfers between accounts, the customers who order them, and the invariants of their results.

A customer who got no answer, or a failure, asks again with the same number, until the order is acknowledged.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.support.client import ask
from tests.support.probe import let_pass


@dataclass(frozen=True, slots=True, order=True)
class Transfer:
    """Money that shall go from one account to another."""

    number: str
    payer: int
    payee: int
    cents: int


def make_transfers(count: int, accounts: Sequence[int], chance: random.Random) -> list[Transfer]:
    """Think of transfers, each with a number of its own."""
    return [
        Transfer(f"t{number:05}", *chance.sample(accounts, 2), chance.randrange(1, 10_000)) for number in range(count)
    ]


class Customers:
    """Threads that order transfers at an even pace, each of them until it is acknowledged.

    :param seconds: over which the orders are spread, if they are answered as fast.
    """

    def __init__(self, port: int, transfers: Sequence[Transfer], *, seconds: float, threads: int = 8) -> None:
        self.acknowledged: list[Transfer] = []
        self.answers: Counter[str] = Counter()  #: by status; "none" where no whole answer came
        self.refusals: list[str] = []  #: answers that asking again would not change
        self._port = port
        self._lock = threading.Lock()
        self._waiting = iter(enumerate(transfers))
        self._every_seconds = seconds / len(transfers)
        self._began_at = 0.0
        self._gone = False
        self._threads = [threading.Thread(target=self._order, daemon=True) for _ in range(threads)]

    @property
    def done(self) -> bool:
        """Whether every transfer was acknowledged, or an order was refused for good."""
        return not any(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin to order."""
        self._began_at = time.monotonic()
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """Order no more, whatever is left."""
        self._gone = True
        for thread in self._threads:
            thread.join(60)

    def _order(self) -> None:
        while not self._gone:
            with self._lock:
                number, transfer = next(self._waiting, (0, None))
            if transfer is None:
                return
            let_pass(max(0.0, self._began_at + number * self._every_seconds - time.monotonic()))
            wait_seconds = 0.1
            while not self._gone and not self._ask(transfer):
                let_pass(wait_seconds)
                wait_seconds = min(1.0, wait_seconds * 2)

    def _ask(self, transfer: Transfer) -> bool:
        asked = ask(
            self._port,
            "/orders",
            method="POST",
            body=json.dumps(asdict(transfer)).encode(),
            headers={"Content-Type": "application/json"},
        )
        status = str(asked.status) if asked.whole else "none"
        with self._lock:
            self.answers[status] += 1
            if status in ("200", "201"):
                self.acknowledged.append(transfer)
                return True
            if status[0] == "4":
                self.refusals.append(f"{transfer}: {status} {asked.body!r}")
                self._gone = True
        return False


def balances(transfers: Iterable[Transfer], at_first: Mapping[int, int]) -> dict[int, int]:
    """Return what is on the accounts after these transfers."""
    after = dict(at_first)
    for transfer in transfers:
        after[transfer.payer] -= transfer.cents
        after[transfer.payee] += transfer.cents
    return after


def check_invariants(
    acknowledged: Iterable[Transfer],
    orders: Iterable[Transfer],
    bookings: Iterable[Transfer],
    accounts: Mapping[int, int],
    at_first: Mapping[int, int],
) -> list[str]:
    """Compare acknowledged transfers, stored orders and booked transfers; return the differences."""
    told, ordered, booked = Counter(acknowledged), Counter(orders), Counter(bookings)
    wrong = [
        *(f"acknowledged and in the orders {ordered[one]} times: {one}" for one in told if ordered[one] != 1),
        *(f"in the orders and not acknowledged: {one}" for one in ordered if one not in told),
        *(f"in the orders and not booked: {one}" for one in ordered if one not in booked),
        *(f"booked {times} times: {one}" for one, times in booked.items() if times != 1),
        *(f"booked and not in the orders: {one}" for one in booked if one not in ordered),
    ]
    sums = [sum(one.cents * times for one, times in counted.items()) for counted in (ordered, booked)]
    if sums[0] != sums[1]:
        wrong.append(f"the orders are {sums[0]} cents, the ledger has booked {sums[1]}")
    if dict(accounts) != balances(ordered.elements(), at_first):
        wrong.append("the accounts are not what the orders make of them")
    return wrong

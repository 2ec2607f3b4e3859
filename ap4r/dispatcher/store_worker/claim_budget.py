"""How many more messages of one store may be leased, and how long a claim may wait for more to come.

Beside those in flight some are held ahead of their calls, and some are called and not settled yet.
"""

from __future__ import annotations

from typing import Any

from ap4r.dispatcher.delivery.ahead import AHEAD_SECONDS
from ap4r.dispatcher.delivery.deliveries import Deliveries
from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.store_shares import StorePart, StoreShares
from ap4r.dispatcher.store_worker.claim_timing import GATHER_SECONDS
from ap4r.dispatcher.store_worker.settle_loop import BATCH, SettleLoop


class ClaimBudget:
    """What one store may still hold of what all stores of a process may have in flight."""

    def __init__(
        self,
        reactor: Any,
        limit: ConcurrencyLimit,
        share: StoreShares,
        part: StorePart,
        deliveries: Deliveries,
        settlements: SettleLoop,
    ) -> None:
        self._reactor = reactor
        self._limit, self._share, self._part = limit, share, part
        self._deliveries, self._settlements = deliveries, settlements

    def left(self) -> int:
        """Tell how many messages a claim may take now."""
        ahead, deliveries = self._ahead(), self._deliveries
        waiting = deliveries.held - deliveries.in_flight
        most = self._limit.concurrency + ahead + BATCH - deliveries.held - self._settlements.kept
        return min(self._share.room(self._part, self._reactor.seconds()) + ahead - waiting, most)

    def enough(self) -> int:
        """Tell for how many messages it is worth claiming."""
        return self._share.enough() + self._ahead() // 2

    def gather_seconds(self) -> float:
        """Tell how long to wait for more room before a claim."""
        # While messages are at hand nobody waits for a claim, and a larger one does as much for less.
        return GATHER_SECONDS if self._deliveries.held == self._deliveries.in_flight else AHEAD_SECONDS / 2

    @property
    def is_used_up(self) -> bool:
        """Whether no further call may begin: what a crash repeats stays within this."""
        return self._deliveries.in_flight + self._settlements.kept >= self._limit.concurrency + BATCH

    def _ahead(self) -> int:
        # Where an origin has a limit of its own, or another store waits for room, what is held here is kept from them.
        return self._deliveries.ahead.count(self._reactor.seconds()) if self._share.is_undivided else 0

"""How many more messages of one store may be leased, and how long a claim may wait for more room.

Beside the messages in flight some are held ahead of their calls, and some are called and not settled yet.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.delivery.ahead import AHEAD_SECONDS
from ap4r.dispatcher.delivery.deliveries import Deliveries
from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.dispatcher.flow.store_shares import SharingStore, StoreShares
from ap4r.dispatcher.store_worker.claim_timing import GATHER_SECONDS
from ap4r.dispatcher.store_worker.settle_loop import BATCH, SettleLoop


class ClaimBudget:
    """The part of a process's messages in flight that one store may still hold."""

    def __init__(
        self,
        clock: IReactorTime,
        limit: ConcurrencyLimit,
        shares: StoreShares,
        store: SharingStore,
        deliveries: Deliveries,
        settlements: SettleLoop,
    ) -> None:
        self._clock = clock
        self._limit, self._shares, self._store = limit, shares, store
        self._deliveries, self._settlements = deliveries, settlements

    def left(self) -> int:
        """Return how many messages a claim may lease now."""
        ahead, deliveries = self._ahead(), self._deliveries
        waiting = deliveries.held - deliveries.in_flight
        most = self._limit.concurrency + ahead + BATCH - deliveries.held - self._settlements.kept
        return min(self._shares.room(self._store, self._clock.seconds()) + ahead - waiting, most)

    def enough(self) -> int:
        """Return the room for which a claim is worth its cost."""
        return self._shares.enough() + self._ahead() // 2

    def gather_seconds(self) -> float:
        """Return how long to wait for more room before a claim."""
        # While there are messages to call, no call waits for a claim, and a larger claim costs less per message.
        return GATHER_SECONDS if self._deliveries.held == self._deliveries.in_flight else AHEAD_SECONDS / 2

    def claim_begins(self, count: int) -> None:
        """Reserve room for a claim of so many messages."""
        self._shares.claim_begins(self._store, count)

    def claim_ended(self) -> None:
        """Release the room that the claim did not use."""
        self._shares.claim_ended(self._store)

    def _ahead(self) -> int:
        # If an origin has a limit of its own, or another store waits for room, messages held here would occupy it.
        return self._deliveries.ahead.count(self._clock.seconds()) if self._shares.is_undivided else 0

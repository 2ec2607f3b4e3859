"""Settles outcomes: collects them for a few milliseconds, settles batches, and keeps them until the store answers."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ap4r.dispatcher.delivery.deliveries import MOST_UNSETTLED
from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.store_outage import LoopFailures
from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.dispatcher.store_worker.worker_state import WorkerListener
from ap4r.errors import StoreError
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.outcome.outcome import PutBack
from ap4r.storage.store import Settlement, SettleResult

UNKNOWN_PAUSE_SECONDS = 0.5  #: between two attempts to settle outcomes whose result the store did not know
REFUSED_PAUSE_SECONDS = 30.0  #: and those that failed for a reason outside the store: no free file, or a defect
#: An outcome waits this long for others, the window in which a crash repeats a delivery: a little longer when there are
#: many, because a commit costs as much for one as for many.
GATHER_SECONDS, CROWD_SECONDS = 0.005, 0.02
CROWD = 16  #: so many in a batch count as many
BATCH = MOST_UNSETTLED  #: and no more than these are settled at once


class SettleLoop:
    """Keeps outcomes and settles them in batches, oldest first, also after any outage.

    :param listener: receives after each batch whether a message of it was put back.
    """

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        failures: LoopFailures,
        events: Events,
        listener: WorkerListener,
    ) -> None:
        self._store = store
        self._events = events
        self._listener = listener
        self._clock = clock
        self._kept: deque[Settlement] = deque()
        self._refused: list[Settlement] = []
        self._refused_until = 0.0
        self._loop = Loop(clock, "settle", self._turn, failures)
        # After a failure that is not the store's fault, so that one bad row cannot delay the others.
        self._one_by_one = 0
        self._all_settled: Deferred[None] | None = None
        self._gather_seconds = GATHER_SECONDS

    @property
    def kept(self) -> int:
        """The number of outcomes that will be settled as soon as the store can."""
        return len(self._kept)

    @property
    def refused(self) -> int:
        """The number of outcomes that could not be stored although the store works. They are retried now and then.

        Their messages were called, so their leases must not be handed back as if they had not been.
        """
        return len(self._refused)

    def start(self) -> None:
        """Start settling."""
        self._loop.start()

    def stop(self) -> Deferred[None]:
        """Stop settling; the Deferred fires when a running batch has its answer."""
        return self._loop.stop()

    def add(self, settlement: Settlement) -> None:
        """Keep an outcome; it is stored within milliseconds, or as soon as the store answers again."""
        self._kept.append(settlement)
        self._loop.wake(0.0 if len(self._kept) >= BATCH else self._gather_seconds)

    def flush(self) -> Deferred[None]:
        """Settle the kept outcomes now; the Deferred fires when none is left but those that are refused again."""
        self._try_refused_again()
        if not self._kept:
            return succeed(None)
        self._loop.wake(0.0)
        if self._all_settled is None:
            self._all_settled = Deferred()
        waiting: Deferred[None] = Deferred()
        self._all_settled.chainDeferred(waiting)
        return waiting

    async def _turn(self) -> float | None:
        if self._refused and self._clock.seconds() >= self._refused_until:
            self._try_refused_again()
        if not self._kept:
            return self._drained()
        size = 1 if self._one_by_one else min(BATCH, len(self._kept))
        batch = list(islice(self._kept, size))
        try:
            answers = await self._store.run("settle", partial(self._store.store.settle, batch))
        except StoreError:
            raise
        except Exception:
            if size > 1:
                self._one_by_one = size
                raise
            self._refuse_first()
            return 0.0
        self._gather_seconds = CROWD_SECONDS if size >= CROWD else GATHER_SECONDS
        for _ in range(size):
            self._kept.popleft()
        self._one_by_one = max(0, self._one_by_one - size)
        unknown = [
            settlement for settlement, answer in zip(batch, answers, strict=True) if not self._noted(settlement, answer)
        ]
        self._kept.extendleft(reversed(unknown))
        self._listener.outcomes_settled(any(isinstance(settlement.outcome, PutBack) for settlement in batch))
        if not self._kept:
            return self._drained()
        if unknown:
            # The store did not know; an immediate retry would get the same answer.
            return UNKNOWN_PAUSE_SECONDS
        return 0.0 if self._all_settled is not None or len(self._kept) >= BATCH else self._gather_seconds

    def _drained(self) -> float | None:
        if self._all_settled is not None:
            all_settled, self._all_settled = self._all_settled, None
            all_settled.callback(None)
        return max(0.0, self._refused_until - self._clock.seconds()) if self._refused else None

    def _noted(self, settlement: Settlement, answer: SettleResult) -> bool:
        message = settlement.lease.message
        if answer is SettleResult.UNKNOWN:
            return False
        if answer is SettleResult.SETTLED:
            self._events.emit(happened.Settled(message.id, message.queue, settlement.outcome))
        else:
            self._events.emit(happened.LeaseLost(message.id, message.queue))
        return True

    def _refuse_first(self) -> None:
        # Retried at once, it would delay the others. While it is not stored its lease stays, and is rescued in the end.
        refused = self._kept.popleft()
        self._one_by_one = max(0, self._one_by_one - 1)
        self._refused.append(refused)
        self._refused_until = self._clock.seconds() + REFUSED_PAUSE_SECONDS
        doing = f"settling message {refused.lease.message.id}"
        self._events.emit(happened.Unexpected(doing, Failure().getTraceback()))
        self._listener.outcomes_settled(False)

    def _try_refused_again(self) -> None:
        self._kept.extend(self._refused)
        self._refused.clear()

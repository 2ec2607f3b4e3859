"""The claim loop: it leases messages from the store whenever there is a reason and room, and passes them on."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.flow.flow_control import FlowControl
from ap4r.dispatcher.store_worker.claim_budget import ClaimBudget
from ap4r.dispatcher.store_worker.claim_timing import ClaimTiming
from ap4r.dispatcher.store_worker.heartbeat import BeatAge, Heartbeat
from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.store_outage import LoopFailures
from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.dispatcher.store_worker.worker_state import WorkerListener, WorkerStatus
from ap4r.errors import StoreError, StoreUnavailable
from ap4r.events.bus import Events
from ap4r.events.events import Claimed
from ap4r.storage.store import Lease, Look


class LeaseTaker(Protocol):
    """Delivers the messages that were claimed."""

    def take(self, leases: tuple[Lease, ...], claimed_at: float) -> None:
        """Deliver these messages."""


class ClaimLoop:
    """Claims as often as there is a reason and room. Bells, freed room, due times and ends of holds wake it."""

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        failures: LoopFailures,
        events: Events,
        heartbeat: Heartbeat,
        beat_age: BeatAge,
        status: WorkerStatus,
        budget: ClaimBudget,
        flow: FlowControl,
        deliveries: LeaseTaker,
        listener: WorkerListener,
    ) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._heartbeat, self._beat_age = heartbeat, beat_age
        self._status = status
        self._budget = budget
        self._flow = flow
        self._deliveries = deliveries
        self._listener = listener
        self._timing = ClaimTiming()
        self._freed_meanwhile = False
        self._loop = Loop(clock, "claim", self._turn, failures)

    @property
    def wants_more(self) -> bool:
        """Whether it would claim more if it had room."""
        return self._timing.wants_more and self._status.may_claim and self._heartbeat.registered and not self.failing

    @property
    def failing(self) -> bool:
        """Whether it does not run, or the last claim failed."""
        return not self._loop.is_well

    def late_seconds(self) -> float:
        """Return for how many seconds claims have failed; 0.0 when the last one succeeded."""
        return self._loop.late_seconds()

    def start(self) -> None:
        """Start claiming."""
        self._loop.start()

    def stop(self) -> Deferred[None]:
        """Stop claiming; the Deferred fires when a running claim has passed on its messages."""
        return self._loop.stop()

    def ring(self) -> None:
        """Claim soon, because a bell rang."""
        now = self._clock.seconds()
        self._loop.wake(self._timing.ring(now) - now)

    def looked(self, look: Look) -> None:
        """Claim when a message is due, as the poll read it."""
        now = self._clock.seconds()
        if look.due:
            self._loop.wake(0.0)
        elif look.next_due_in_seconds is not None:
            self._loop.wake(self._timing.due_in(now, look.next_due_in_seconds) - now)

    def freed(self) -> None:
        """Claim if the room of ended calls is worth it."""
        if self._flow.is_stuck(self._clock.seconds()):
            # There is room for new messages, which ring the bell, and none for messages that are known to wait.
            return
        if self._loop.is_turning:
            # The turn checks the room when it ends.
            self._freed_meanwhile = True
        elif self._timing.wants_more and self._status.may_claim:
            room = self._budget.left()
            if room > 0:
                self._loop.wake(0.0 if room >= self._budget.enough() else self._budget.gather_seconds())

    def wake(self) -> None:
        """Claim soon: something may have become ready, or a target was released."""
        self._loop.wake(0.0)

    async def _turn(self) -> float | None:
        if not self._status.may_claim or not self._heartbeat.registered:
            return None
        limit = self._budget.left()
        if limit <= 0:
            self._timing.no_room()
            return self._until_stuck(self._clock.seconds())
        self._timing.claiming(self._clock.seconds())
        keeps_back = self._flow.keeps_back(self._clock.seconds())
        owner = self._heartbeat.owner
        turns = self._flow.claim_turns(limit, self._clock.seconds())
        began, beat = self._beat_age.begin(), not self._beat_age.is_fresh
        self._budget.claim_begins(limit)
        self._freed_meanwhile = False
        try:
            claim = await self._store.run(
                "claim",
                partial(
                    self._store.store.claim, owner, limit, excluded=turns.excluded, yielding=turns.yielding,
                    most_yielding=turns.most_yielding, beat=beat,
                ),
            )  # fmt: skip
            if beat:
                self._beat_age.succeeded(began)
            now = self._clock.seconds()
            self._timing.claimed(now, len(claim.leases), claim.more or keeps_back, claim.next_due_in_seconds)
            if claim.leases:
                self._events.emit(Claimed(len(claim.leases)))
                self._deliveries.take(claim.leases, now)
                self._heartbeat.holding()
        except StoreUnavailable as error:
            if error.outcome_unknown:
                self._listener.claim_in_doubt()
            raise
        except StoreError:
            raise
        except Exception:
            # The claim may have been committed. Then the store holds leases for this owner that are not called.
            self._listener.claim_in_doubt()
            raise
        finally:
            self._budget.claim_ended()
        return self._next_in_seconds(now, bool(claim.leases))

    def _next_in_seconds(self, now: float, brought: bool) -> float | None:
        if self._timing.wants_more and (brought or self._freed_meanwhile) and self._budget.left() > 0:
            return 0.0 if self._budget.left() >= self._budget.enough() else self._budget.gather_seconds()
        at = self._timing.next_at(now, self._flow.next_probe_at(now))
        waits = [max(0.0, at - now)] if at is not None else []
        stuck_seconds = self._until_stuck(now) if self._timing.wants_more else None
        if stuck_seconds is not None:
            waits.append(stuck_seconds)
        return min(waits, default=None)

    def _until_stuck(self, now: float) -> float | None:
        at = self._flow.stuck_at(now)
        return None if at is None else max(0.0, at - now)

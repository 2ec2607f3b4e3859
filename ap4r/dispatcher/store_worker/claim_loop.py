"""The claim loop: takes messages from the store when there is room, for as long as the dispatcher runs.

It calls nobody; what it claims it hands over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.claim_timing import ClaimTiming
from ap4r.dispatcher.store_worker.heartbeat import Heartbeat
from ap4r.dispatcher.store_worker.loop import Loop, Report
from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.errors import StoreError, StoreUnavailable
from ap4r.events.bus import Events
from ap4r.events.events import Claimed
from ap4r.storage.store import Lease, Look


class ClaimTurns(NamedTuple):
    """The lanes of which nothing is claimed, and those that give way, with the most that they may give."""

    excluded: Collection[int]
    yielding: Collection[int]
    most_yielding: int


class ClaimLoop:
    """Claims as often as there is reason and room; wakes by bells, freed room, due times and ends of holds."""

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        report: Report,
        events: Events,
        heartbeat: Heartbeat,
        *,
        room: Callable[[], int],
        enough_room: Callable[[], int],
        gather_seconds: Callable[[], float],
        turns: Callable[[int], ClaimTurns],
        full: Callable[[], bool],
        is_stuck: Callable[[float], bool],
        stuck_at: Callable[[float], float | None],
        next_probe_at: Callable[[float], float | None],
        take: Callable[[tuple[Lease, ...], float], None],
        in_doubt: Callable[[], None],
        ask: Callable[[int], None],
        answered: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._heartbeat = heartbeat
        self._room = room
        self._enough_room = enough_room
        self._gather_seconds = gather_seconds
        self._turns = turns
        self._full = full
        self._is_stuck, self._stuck_at = is_stuck, stuck_at
        self._next_probe_at = next_probe_at
        self._take = take
        self._in_doubt = in_doubt
        self._ask = ask
        self._answered = answered
        self._schedule = ClaimTiming()
        self._freed_meanwhile = False
        self._loop = Loop(clock, self._turn, report)
        self.paused = False

    @property
    def hungry(self) -> bool:
        """Whether it would claim more if it had room."""
        return self._schedule.hungry and not self.paused and self._heartbeat.registered and not self.ill

    @property
    def ill(self) -> bool:
        """Whether it claims nothing, or the last claim failed."""
        return not self._loop.is_well

    def late_seconds(self) -> float:
        """Tell for how long claims have been tried in vain; 0.0 when all is well."""
        return self._loop.late_seconds()

    def start(self) -> None:
        """Begin to claim."""
        self._loop.start()

    def stop(self) -> Deferred[None]:
        """Claim no more; fires when a claim that runs has handed over what it brought."""
        return self._loop.stop()

    def ring(self) -> None:
        """Note a bell."""
        now = self._clock.seconds()
        self._loop.wake(self._schedule.ring(now) - now)

    def looked(self, look: Look) -> None:
        """Note what the regular glance saw."""
        now = self._clock.seconds()
        if look.due:
            self._loop.wake(0.0)
        elif look.next_due_in_seconds is not None:
            self._loop.wake(self._schedule.due_in(now, look.next_due_in_seconds) - now)

    def freed(self) -> None:
        """Note that a call ended."""
        if self._is_stuck(self._clock.seconds()):
            # There is room for what comes new, which rings; not for what is known to wait.
            return
        if self._loop.is_turning:
            # It looks for room when it ends.
            self._freed_meanwhile = True
        elif self._schedule.hungry and not self.paused:
            room = self._room()
            if room > 0:
                self._loop.wake(0.0 if room >= self._enough_room() else self._gather_seconds())

    def wake(self) -> None:
        """Claim soon: something may have become ready, or a target was released."""
        self._loop.wake(0.0)

    async def _turn(self) -> float | None:
        if self.paused or not self._heartbeat.registered:
            return None
        limit = self._room()
        if limit <= 0:
            self._schedule.no_room()
            return self._until_stuck(self._clock.seconds())
        self._schedule.claiming(self._clock.seconds())
        full = self._full()
        owner = self._heartbeat.owner
        turns = self._turns(limit)
        began, beat = self._heartbeat.begin(), not self._heartbeat.is_fresh
        self._ask(limit)
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
                self._heartbeat.succeeded(began)
            now = self._clock.seconds()
            self._schedule.claimed(now, len(claim.leases), claim.more or full, claim.next_due_in_seconds)
            if claim.leases:
                self._events.emit(Claimed(len(claim.leases)))
                self._take(claim.leases, now)
        except StoreUnavailable as error:
            if error.outcome_unknown:
                self._in_doubt()
            raise
        except StoreError:
            raise
        except Exception:
            # It may have come after the commit: what it brought is then ours, though nobody calls it.
            self._in_doubt()
            raise
        finally:
            self._answered()
        return self._next_in_seconds(now, bool(claim.leases))

    def _next_in_seconds(self, now: float, brought: bool) -> float | None:
        if self._schedule.hungry and (brought or self._freed_meanwhile) and self._room() > 0:
            return 0.0 if self._room() >= self._enough_room() else self._gather_seconds()
        at = self._schedule.next_at(now, self._next_probe_at(now))
        waits = [max(0.0, at - now)] if at is not None else []
        stuck_seconds = self._until_stuck(now) if self._schedule.hungry else None
        if stuck_seconds is not None:
            waits.append(stuck_seconds)
        return min(waits, default=None)

    def _until_stuck(self, now: float) -> float | None:
        at = self._stuck_at(now)
        return None if at is None else max(0.0, at - now)

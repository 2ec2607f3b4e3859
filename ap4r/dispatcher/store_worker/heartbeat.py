"""The registration of this dispatcher in a store: its owner id, its heartbeat, and the age of the last beat."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.store_outage import LoopFailures
from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.dispatcher.store_worker.worker_state import Holdings

BEAT_SECONDS = 5.0  #: between beats while leases are held
FRESH_SECONDS = 2.5  #: a beat is fresh for so long
IDLE_BEAT_SECONDS = 30.0  #: between beats while no lease is held
#: No call begins later than this after the beginning of the last successful beat: after 15 s an observer declares
#: this dispatcher dead.
CALL_WITHIN_SECONDS = 10.0
#: Calls in flight are dropped at this age of the beat; that leaves half a second for it before the 15 s.
DROP_AFTER_SECONDS = 14.0
GUARD_SECONDS = 0.5
#: When the age is checked so much later than planned, this process was blocked or the machine slept.
AWAY_SECONDS = 1.0


def boottime() -> float:
    """Return seconds of a clock that continues while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BeatAge:
    """The age of the last heartbeat.

    It counts on the boot-time clock from *before* a call of the store that moved the counter, so an observer has seen
    the beat later than that. A claim moves the counter too when the last beat is not fresh: call `begin` before it and
    `succeeded` after it.
    """

    def __init__(self, boottime: Callable[[], float] = boottime) -> None:
        self._boottime = boottime
        self._began = float("-inf")

    def begin(self) -> float:
        """Return the time before a call that moves the counter."""
        return self._boottime()

    def succeeded(self, began: float) -> None:
        """Record that such a call succeeded."""
        self._began = max(self._began, began)

    def seconds(self) -> float:
        """Return the age in seconds; infinite before the first beat."""
        return self._boottime() - self._began

    @property
    def is_fresh(self) -> bool:
        """Whether the last beat is so recent that a claim need not move the counter too."""
        return self.seconds() < FRESH_SECONDS

    def may_call(self) -> bool:
        """Return whether a call may begin now."""
        return self.seconds() <= CALL_WITHIN_SECONDS


class CallsInFlight(Protocol):
    """The calls that this dispatcher makes for its leases."""

    def cut_all(self) -> None:
        """End every call."""


class Heartbeat:
    """Registers this dispatcher, moves its counter, and ends its calls when the last beat is too old."""

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        failures: LoopFailures,
        age: BeatAge,
        holdings: Holdings,
        calls: CallsInFlight,
        *,
        make_owner: Callable[[], str],
        name: str,
        version: str,
    ) -> None:
        self._store = store
        self._make_owner = make_owner
        self._holdings = holdings
        self._calls = calls
        self._name = name
        self._version = version
        self._age = age
        self._beats = Loop(clock, "beat", self._turn, failures, longest_wait_seconds=1.0)
        self._guard = Loop(clock, "beat", self._look_after_calls, failures)
        self._looked_at = float("-inf")
        self._wanted = False
        self.bell = ""  #: the address that was advertised at the last registration
        #: Returns the bell's address from the local address of a connection to the store, if it depends on that.
        self.bell_for: Callable[[str], str] | None = None
        self.owner = ""
        self.registered = False

    async def register(self) -> None:
        """Register under a new owner id.

        :raises StoreError: the store's error; call again later.
        """
        self.registered = False
        owner = self._make_owner()
        if self.bell_for is not None:
            # Also after a failover, which may have changed the route to the store.
            self.bell = self.bell_for(await self._store.run("register", self._store.store.local_address))
        began = self._age.begin()
        await self._store.run(
            "register", partial(self._store.store.register, owner, self._name, self._version, self.bell)
        )
        self.owner = owner
        self.registered = True
        self._age.succeeded(began)

    async def unregister(self) -> int:
        """Leave the store, and return how many messages were handed back uncalled.

        :raises StoreError: the store's error.
        """
        if not self.owner:
            return 0
        # From now on the store would refuse a beat.
        self.registered = False
        handed_back = await self._store.run("unregister", partial(self._store.store.unregister, self.owner))
        self.owner = ""
        return handed_back

    def start(self) -> None:
        """Start the beats."""
        self._beats.start(IDLE_BEAT_SECONDS)
        self._guard.start()

    def stop(self) -> list[Deferred[None]]:
        """Stop the beats; each Deferred fires when a running turn has ended."""
        return [self._beats.stop(), self._guard.stop()]

    def holding(self) -> None:
        """Beat more often from now on, because leases were taken."""
        self._beats.wake(max(0.0, BEAT_SECONDS - self._age.seconds()))
        self._guard.wake(GUARD_SECONDS)

    def beat_now(self) -> None:
        """Beat at once, because a clock was set or others may consider this dispatcher dead."""
        self._wanted = True
        self._beats.wake(0.0)

    async def _turn(self) -> float | None:
        interval = BEAT_SECONDS if self._holdings.needs_heartbeat else IDLE_BEAT_SECONDS
        if not self.registered:
            return interval
        due_in_seconds = 0.0 if self._wanted else interval - self._age.seconds()
        if due_in_seconds > 0.001:
            return due_in_seconds
        await self._beat()
        return interval

    async def _beat(self) -> None:
        began = self._age.begin()
        # A beat is sent before waiting claims and settlements: without it they would fail.
        await self._store.run("beat", partial(self._store.store.beat, self.owner), urgent=True)
        self._wanted = False
        self._age.succeeded(began)

    async def _look_after_calls(self) -> float | None:
        looked_at, self._looked_at = self._looked_at, self._age.begin()
        if not self._holdings.needs_heartbeat:
            return None
        if self._age.seconds() >= DROP_AFTER_SECONDS:
            # After a sleep of the machine, or a standstill of this process, the store knows whether others considered
            # this dispatcher dead. If none did, the calls continue, and their answers may already have arrived.
            if self.registered and self._looked_at - looked_at > GUARD_SECONDS + AWAY_SECONDS:
                await self._beat_or_drop()
            else:
                self._calls.cut_all()
        return GUARD_SECONDS

    async def _beat_or_drop(self) -> None:
        try:
            await self._beat()
        except Exception:
            self._calls.cut_all()
            raise

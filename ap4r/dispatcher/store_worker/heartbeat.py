"""This dispatcher's place in the store: its owner id, its beats, and whether they are fresh enough to make calls.

It does not watch others, and what is done about calls in flight is told to its caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.loop import Loop, Report
from ap4r.dispatcher.store_worker.store_thread import StoreThread

BEAT_SECONDS = 5.0  #: between beats while leases are held
FRESH_SECONDS = 2.5  #: a beat is young for so long
IDLE_BEAT_SECONDS = 30.0  #: between beats while none is held
#: No call is begun later than this after the last successful beat was begun: an observer declares us dead after 15 s.
CALL_WITHIN_SECONDS = 10.0
#: Calls in flight are dropped at this age of the beat; half a second before 15 s is left for the dropping.
DROP_AFTER_SECONDS = 14.0
GUARD_SECONDS = 0.5
#: A look at the age that comes so much later means that this process stood still, or the machine slept.
AWAY_SECONDS = 1.0


def boottime() -> float:
    """Give seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Heartbeat:
    """Registers this dispatcher, beats for it, and tells whether it may still act for its leases.

    Ages count on the boot-time clock from *before* a call of the store that moved the counter, so whatever an
    observer has seen is younger. A claim moves the counter too when the last beat is not fresh: bracket it then with
    `begin` and `succeeded`.
    """

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        report: Report,
        *,
        make_owner: Callable[[], str],
        holds: Callable[[], bool],
        drop: Callable[[], None],
        name: str,
        version: str,
        boottime: Callable[[], float] = boottime,
    ) -> None:
        self._store = store
        self._make_owner = make_owner
        self._holds = holds
        self._drop = drop
        self._name = name
        self._version = version
        self._boottime = boottime
        self._beat_began = float("-inf")
        self._beats = Loop(clock, self._turn, report, longest_wait_seconds=1.0)
        self._guard = Loop(clock, self._look_after_calls, report)
        self._looked_at = float("-inf")
        self._wanted = False
        self.bell = ""  #: as it was advertised at the last registration
        #: Returns it by the address from which this host reaches the store, where it depends on that.
        self.bell_for: Callable[[str], str] | None = None
        self.owner = ""
        self.registered = False

    def begin(self) -> float:
        """Take the time before a call that moves the counter."""
        return self._boottime()

    def succeeded(self, began: float) -> None:
        """Note that such a call succeeded."""
        self._beat_began = max(self._beat_began, began)

    @property
    def is_fresh(self) -> bool:
        """Whether the last beat is so young that a claim need not move the counter too."""
        return self._age() < FRESH_SECONDS

    def may_call(self) -> bool:
        """Tell whether a call may be begun now."""
        return self._boottime() - self._beat_began <= CALL_WITHIN_SECONDS

    async def register(self) -> None:
        """Take a new owner id and make it known in the store.

        :raises StoreError: what the store raises; call again later.
        """
        self.registered = False
        owner = self._make_owner()
        if self.bell_for is not None:
            # Also after a failover, which may have changed the way to the store.
            self.bell = self.bell_for(await self._store.run("register", self._store.store.local_address))
        began = self.begin()
        await self._store.run(
            "register", partial(self._store.store.register, owner, self._name, self._version, self.bell)
        )
        self.owner = owner
        self.registered = True
        self.succeeded(began)

    async def unregister(self) -> int:
        """Leave the store; the number of messages that were handed back uncalled.

        :raises StoreError: what the store raises.
        """
        if not self.owner:
            return 0
        # From now on a beat would only learn that nobody knows us.
        self.registered = False
        handed_back = await self._store.run("unregister", partial(self._store.store.unregister, self.owner))
        self.owner = ""
        return handed_back

    def start(self) -> None:
        """Begin to beat."""
        self._beats.start(IDLE_BEAT_SECONDS)
        self._guard.start()

    def stop(self) -> list[Deferred[None]]:
        """Beat no more; each fires when what runs has ended."""
        return [self._beats.stop(), self._guard.stop()]

    def holding(self) -> None:
        """Note that leases were taken: from now on beats are due more often."""
        self._beats.wake(max(0.0, BEAT_SECONDS - self._age()))
        self._guard.wake(GUARD_SECONDS)

    def beat_now(self) -> None:
        """Beat at once: the store's clock was set, or others may take us for dead."""
        self._wanted = True
        self._beats.wake(0.0)

    def _age(self) -> float:
        return self._boottime() - self._beat_began

    async def _turn(self) -> float | None:
        interval = BEAT_SECONDS if self._holds() else IDLE_BEAT_SECONDS
        if not self.registered:
            return interval
        due_in_seconds = 0.0 if self._wanted else interval - self._age()
        if due_in_seconds > 0.001:
            return due_in_seconds
        await self._beat()
        return interval

    async def _beat(self) -> None:
        began = self.begin()
        # A beat goes before claims and settles that wait: without it they would be for nothing.
        await self._store.run("beat", partial(self._store.store.beat, self.owner), urgent=True)
        self._wanted = False
        self.succeeded(began)

    async def _look_after_calls(self) -> float | None:
        looked_at, self._looked_at = self._looked_at, self._boottime()
        if not self._holds():
            return None
        if self._age() >= DROP_AFTER_SECONDS:
            # After the machine has slept, or this process stood still, the store says whether others took us for
            # dead: if none did, the calls in flight are as good as before, and their answers may be waiting.
            if self.registered and self._looked_at - looked_at > GUARD_SECONDS + AWAY_SECONDS:
                await self._beat_or_drop()
            else:
                self._drop()
        return GUARD_SECONDS

    async def _beat_or_drop(self) -> None:
        try:
            await self._beat()
        except Exception:
            self._drop()
            raise

"""The poll loop: it reads regularly what is due and which dispatchers live, and rescues the leases of dead ones.

One `look` at the store is enough for all of it. It wakes the claim loop and claims nothing itself.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.claim_loop import ClaimLoop
from ap4r.dispatcher.store_worker.dead_peers import DeadPeers
from ap4r.dispatcher.store_worker.heartbeat import Heartbeat
from ap4r.dispatcher.store_worker.loop import Loop
from ap4r.dispatcher.store_worker.store_outage import LoopFailures
from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.errors import OwnerLost
from ap4r.events.bus import Events
from ap4r.events.events import DispatcherDied


class PollLoop(Loop):
    """Polls the store each 5 s, and each second while other dispatchers hold leases."""

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        failures: LoopFailures,
        events: Events,
        heartbeat: Heartbeat,
        claims: ClaimLoop,
    ) -> None:
        super().__init__(clock, "look", self._look, failures)
        self._clock = clock
        self._store = store
        self._events = events
        self._heartbeat = heartbeat
        self._claims = claims
        self._peers = DeadPeers()

    async def _look(self) -> float:
        began = self._clock.seconds()
        look = await self._store.run("look", self._store.store.look)
        self._peers.saw(began, self._clock.seconds(), look.beats, self._heartbeat.owner)
        self._claims.looked(look)
        for owner, beat in self._peers.silent():
            await self._rescue(owner, beat)
        if self._peers.wants_proof():
            await self._prove_that_others_could_beat()
        return self._peers.read_in_seconds(self._clock.seconds())

    async def _prove_that_others_could_beat(self) -> None:
        # Without a registration the write proves nothing, and nothing is rescued until there is a new one.
        with suppress(OwnerLost):
            await self._store.run("beat", partial(self._store.store.beat, self._heartbeat.owner))
            self._peers.wrote(self._clock.seconds())

    async def _rescue(self, owner: str, beat: int) -> None:
        freed = dead = dropped = 0
        try:
            while True:
                batch = await self._store.run("rescue", partial(self._store.store.rescue, owner, beat))
                if batch is None or not (batch.freed or batch.dead or batch.dropped):
                    break
                freed, dead, dropped = freed + batch.freed, dead + batch.dead, dropped + batch.dropped
                self._claims.wake()
        finally:
            if freed or dead or dropped:
                self._events.emit(DispatcherDied(owner, freed, dead, dropped))
        # If it is alive after all, its silence counts from the next reading.
        self._peers.forget(owner)

"""The regular glance at the store: what is due, who lives; and the rescue of what the dead were holding.

One `look` serves all of it. It claims nothing itself; it wakes the claim loop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.dead_peers import DeadPeers
from ap4r.dispatcher.store_worker.loop import Loop, Report
from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.errors import OwnerLost
from ap4r.events.bus import Events
from ap4r.events.events import DispatcherDied
from ap4r.storage.store import Look


class Poll(Loop):
    """Looks each 5 s (each second while others hold leases) and tells what it saw."""

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        report: Report,
        events: Events,
        *,
        own: Callable[[], str],
        looked: Callable[[Look], None],
        rescued: Callable[[], None],
    ) -> None:
        super().__init__(clock, self._look, report)
        self._clock = clock
        self._store = store
        self._events = events
        self._own = own
        self._looked = looked
        self._rescued = rescued
        self._watch = DeadPeers()

    async def _look(self) -> float:
        began = self._clock.seconds()
        look = await self._store.run("look", self._store.store.look)
        self._watch.saw(began, self._clock.seconds(), look.beats, self._own())
        self._looked(look)
        for owner, beat in self._watch.silent():
            await self._rescue(owner, beat)
        if self._watch.wants_proof():
            await self._prove_that_others_could_beat()
        return self._watch.read_in_seconds(self._clock.seconds())

    async def _prove_that_others_could_beat(self) -> None:
        # Without a place of our own nothing is shown, and nothing is rescued; the heartbeat takes a new one.
        with suppress(OwnerLost):
            await self._store.run("beat", partial(self._store.store.beat, self._own()))
            self._watch.wrote(self._clock.seconds())

    async def _rescue(self, owner: str, beat: int) -> None:
        freed = dead = dropped = 0
        try:
            while True:
                batch = await self._store.run("rescue", partial(self._store.store.rescue, owner, beat))
                if batch is None or not (batch.freed or batch.dead or batch.dropped):
                    break
                freed, dead, dropped = freed + batch.freed, dead + batch.dead, dropped + batch.dropped
                self._rescued()
        finally:
            if freed or dead or dropped:
                self._events.emit(DispatcherDied(owner, freed, dead, dropped))
        # If it turned out to live, its silence counts anew.
        self._watch.forget(owner)

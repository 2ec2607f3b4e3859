"""This dispatcher's place in the store after it was taken: lost to others, doubted by ourselves, taken anew.

It delivers nothing; it says when claims must pause and when calls must end.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.store_worker.heartbeat import Heartbeat
from ap4r.dispatcher.store_worker.loop import Loop, Report
from ap4r.events.bus import Events
from ap4r.events.events import OwnerWasLost


class Registration:
    """Keeps this dispatcher registered.

    :param empty: whether no message is held that we know of, but for those that are refused.
    :param refused: how many outcomes cannot be written down, of messages that were called.
    :param drop: ends every call in flight.
    :param pause: keeps claims from being made, or lets them go on.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        clock: IReactorTime,
        report: Report,
        events: Events,
        *,
        empty: Callable[[], bool],
        refused: Callable[[], int],
        drop: Callable[[], None],
        pause: Callable[[bool], None],
    ) -> None:
        self._heartbeat = heartbeat
        self._events = events
        self._empty = empty
        self._refused = refused
        self._drop = drop
        self._pause = pause
        self._renewing = Loop(clock, self._renew, report)
        self.doubted = False  #: whether the store may hold leases for us that we know nothing of

    def start(self) -> None:
        """Begin to renew the place when it is lost or doubted. It was taken before."""
        self._renewing.start()

    def stop(self) -> Deferred[None]:
        """Renew it no more."""
        return self._renewing.stop()

    def lose(self, owner: str) -> None:
        """Note that the store knows this owner no more: its leases are others'."""
        if owner == self._heartbeat.owner and self._heartbeat.registered:
            self._heartbeat.registered = False
            self._drop()
            self._renewing.wake()

    def doubt(self) -> None:
        """Note that a claim's answer was lost.

        What it brought is ours while we beat, and nobody calls it. When all that we do know of is settled, leaving
        the store gives the rest back, and we come again under another id.
        """
        self.doubted = True
        self._pause(True)
        self.emptied()

    def emptied(self) -> None:
        """Note that a message less is held."""
        if self.doubted and self._empty():
            self._renewing.wake()

    async def _renew(self) -> None:
        doubted, owner = self.doubted, self._heartbeat.owner
        if doubted:
            if not self._empty():
                return
            if not self._refused():
                await self._heartbeat.unregister()
            # Else that place is left to fall silent: what comes back from there counts as called.
        elif self._heartbeat.registered:
            return
        await self._heartbeat.register()
        if not doubted and owner:
            self._events.emit(OwnerWasLost(self._heartbeat.owner))
        self.doubted = False
        self._pause(False)

"""Writing down what is held, soon after it changes, so that `ap4r status` and `ap4r doctor` can tell it anywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.flow.holds import Holds
from ap4r.dispatcher.store_worker.loop import Loop, Report
from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.storage.store import Held

#: A change is written after so long, so that changes of one moment are written together.
SOON_SECONDS = 0.1
#: And no sooner after the last time.
PAUSE_SECONDS = 2.0


class HeldLoop(Loop):
    """Keeps what a store knows of the holds equal to what they are.

    :param read: gives what is held of this store.
    :param owner: the dispatcher's name in the store.
    """

    def __init__(
        self,
        store: StoreThread,
        clock: IReactorTime,
        report: Report,
        holds: Holds,
        read: Callable[[], tuple[Held, ...]],
        owner: Callable[[], str],
    ) -> None:
        super().__init__(clock, self._write, report)
        self._store = store
        self._holds = holds
        self._read = read
        self._owner = owner
        self._seen: tuple[str, int] | None = None
        self._is_empty = True
        self._written_at = float("-inf")
        holds.listen(self._changed)

    def _changed(self) -> None:
        self.wake(max(SOON_SECONDS, self._written_at + PAUSE_SECONDS - self._clock.seconds()))

    async def _write(self) -> float | None:
        owner, held = self._owner(), self._read()
        seen = (owner, self._holds.version)
        if seen == self._seen or (not held and self._is_empty):
            return None
        self._written_at = self._clock.seconds()
        await self._store.run("report", partial(self._store.store.report_held, owner, held))
        self._seen, self._is_empty = seen, not held
        return PAUSE_SECONDS if self._holds.version != seen[1] else None

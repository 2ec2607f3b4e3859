"""The threads of one store: they run its blocking calls, and return Deferreds with a deadline.

They do not depend on what the calls do. They serve nothing else, so a busy application cannot delay a heartbeat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ap4r.dispatcher.clock.clock_watch import RunningTime
from ap4r.dispatcher.store_worker.store_outage import StoreOutage
from ap4r.errors import StoreUnavailable
from ap4r.storage.store import Store

T = TypeVar("T")

#: The time beyond the store's own deadline before a call is given up: for passing it to and from the thread.
GRACE_SECONDS = 1.0
_ROUNDING_SECONDS = 0.001


class Workers(Protocol):
    """Runs blocking calls."""

    def start(self) -> None:
        """Get ready to run calls."""

    def stop(self) -> None:
        """Stop the threads after their running calls."""

    def run(self, call: Callable[[], object], done: Callable[[bool, object], None]) -> None:
        """Run `call` in a thread, then `done(succeeded, result or Failure)` in the reactor's thread."""


class OwnThread:
    """A thread beside the reactor's, for one call at a time.

    Twisted's pool would work too; but passing a call to it and back takes longer than a small claim, and one thread is
    enough.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._calls: SimpleQueue[tuple[Callable[[], object], Callable[[bool, object], None]] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Get ready to run calls."""
        self._thread = Thread(target=self._work, name=self._name)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after its waiting and running calls."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._calls.put(None)
            thread.join()

    def run(self, call: Callable[[], object], done: Callable[[bool, object], None]) -> None:
        """Run `call` in the thread, then `done` in the reactor's."""
        self._calls.put((call, done))

    def _work(self) -> None:
        while (task := self._calls.get()) is not None:
            call, done = task
            try:
                succeeded, result = True, call()
            except BaseException:  # noqa: BLE001 - the caller gets every exception
                succeeded, result = False, Failure()
            self._reactor.callFromThread(done, succeeded, result)


class _Call(Generic[T]):
    __slots__ = ("answer", "begun", "call", "doing", "since", "timer")

    def __init__(self, doing: str, call: Callable[[], T]) -> None:
        self.doing = doing
        self.call = call
        self.answer: Deferred[T] | None = Deferred()
        self.timer: IDelayedCall | None = None
        self.begun = False
        self.since = 0.0  # by running time

    def take_answer(self) -> Deferred[T] | None:
        answer, self.answer = self.answer, None
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        return answer


class StoreThread:
    """Runs calls of one store, `threads` at a time, the others waiting in order."""

    def __init__(
        self,
        store: Store,
        clock: IReactorTime,
        workers: Workers,
        outage: StoreOutage,
        *,
        deadline_seconds: float,
        threads: int = 1,
        time: RunningTime | None = None,
    ) -> None:
        self.store = store
        self.outage = outage
        self._clock = clock
        self._time = time or RunningTime(clock)
        self._workers = workers
        self._deadline_seconds = deadline_seconds + GRACE_SECONDS
        self._threads = threads
        self._busy = 0
        self._waiting: deque[_Call[Any]] = deque()

    def start(self) -> None:
        """Get ready to run calls."""
        self._workers.start()

    def stop(self) -> None:
        """Stop the threads."""
        self._workers.stop()

    def run(self, doing: str, call: Callable[[], T], *, urgent: bool = False) -> Deferred[T]:
        """Run one call of the store; the Deferred has its result.

        It fails with the call's exception, or with StoreUnavailable when the deadline passes: `outcome_unknown` if
        the call had begun. A result that arrives later is ignored.

        :param doing: the kind of call in one word, for the log.
        :param urgent: run before waiting calls.
        """
        entry: _Call[T] = _Call(doing, call)
        answer = cast("Deferred[T]", entry.answer)
        entry.since = self._time.seconds()
        entry.timer = self._clock.callLater(self._deadline_seconds, self._expired, entry)
        if urgent:
            self._waiting.appendleft(entry)
        else:
            self._waiting.append(entry)
        self._begin_next()
        return answer

    def _begin_next(self) -> None:
        while self._busy < self._threads and self._waiting:
            entry = self._waiting.popleft()
            entry.begun = True
            entry.since = self._time.seconds()
            # The deadline is the call's own, so it counts from its turn.
            if entry.timer is not None and entry.timer.active():
                entry.timer.reset(self._deadline_seconds)
            self._busy += 1
            self._workers.run(entry.call, partial(self._ended, entry))

    def _ended(self, entry: _Call[Any], succeeded: bool, result: object) -> None:
        self._busy -= 1
        self._begin_next()
        answer = entry.take_answer()
        if answer is None:
            return
        if succeeded:
            self.outage.answered(entry.doing)
            answer.callback(result)
        else:
            answer.errback(cast(Failure, result))

    def _expired(self, entry: _Call[Any]) -> None:
        left_seconds = self._deadline_seconds - (self._time.seconds_now() - entry.since)
        if left_seconds > _ROUNDING_SECONDS:
            # While this process was blocked, the thread of the store was blocked too.
            entry.timer = self._clock.callLater(left_seconds, self._expired, entry)
            return
        if not entry.begun:
            self._waiting.remove(entry)
        answer = entry.take_answer()
        if answer is not None:
            problem = "it did not answer in time" if entry.begun else "it is still busy with an earlier call"
            answer.errback(StoreUnavailable(self.store.name, problem, outcome_unknown=entry.begun))

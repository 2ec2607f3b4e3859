"""Group commit: puts that arrive together are written in one transaction, and so share one fsync.

There is no thread of its own: the first waiting thread writes for all of them, so nothing has to be started or
stopped, and a fork loses nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from ap4r.errors import StoreUnavailable
from ap4r.message.message import Put

_PUTS_A_GROUP = 256


class _Entry:
    """One put that has to be written."""

    __slots__ = ("alone", "done", "error", "put", "taken")

    def __init__(self, put: Put) -> None:
        self.put = put
        self.taken = False  # a thread is writing it
        self.alone = False  # a group that held it failed: it is written by itself
        self.done = False
        self.error: Exception | None = None


class _Queue:
    """The puts that wait in one process. The thread that has the turn writes them."""

    def __init__(self) -> None:
        # Reentrant: an exception from a signal handler may have kept this thread from releasing it.
        self.turn = threading.RLock()
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []

    @property
    def is_empty(self) -> bool:
        """Whether no put waits."""
        return not self._waiting

    def join(self, entry: _Entry) -> None:
        with self._lock:
            self._waiting.append(entry)

    def leave(self, entry: _Entry) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def take(self, first: _Entry) -> list[_Entry]:
        """Return `first` and, unless it must be alone, the puts that wait beside it; they wait no more."""
        with self._lock:
            group = [first]
            if not first.alone:
                self._waiting.remove(first)
                beside = _PUTS_A_GROUP - 1
                group += self._waiting[:beside]
                del self._waiting[:beside]
            for entry in group:
                entry.taken = True
            return group


class GroupCommit:
    """Writes each put once, together with those that wait beside it.

    :param write: stores several puts in one transaction within so many seconds, or raises and stores none.
    """

    def __init__(self, store: str, write: Callable[[Sequence[Put], float], None], deadline_seconds: float) -> None:
        self._store = store
        self._write = write
        self._deadline_seconds = deadline_seconds
        # By process: after a fork the parent's threads, which may hold the locks, do not exist.
        self._queues: dict[int, _Queue] = {}

    def submit(self, put: Put) -> None:
        """Return when `put` is stored; raise what writing it raised.

        :raises StoreUnavailable: the deadline passed first, with `outcome_unknown` if another thread was writing it.
        """
        queue = self._queue()
        if queue.is_empty and queue.turn.acquire(blocking=False):
            # No other put is written or waits, the usual case: puts that arrive meanwhile form the next group.
            try:
                return self._write([put], self._deadline_seconds)
            finally:
                queue.turn.release()
        give_up_at = time.monotonic() + self._deadline_seconds
        entry = _Entry(put)
        queue.join(entry)
        if queue.turn.acquire(timeout=self._deadline_seconds):
            try:
                if not entry.done:
                    self._write_group(queue.take(entry), give_up_at)
            finally:
                queue.turn.release()
        else:
            queue.leave(entry)
            if not entry.done:
                raise self._timed_out(entry)
        if entry.error is not None:
            raise entry.error
        return None

    def submit_together(self, puts: Sequence[Put]) -> list[Exception | None]:
        """Return when every one of `puts` is stored or known not to be; return the exception of each, or None."""
        give_up_at = time.monotonic() + self._deadline_seconds
        queue = self._queue()
        entries = [_Entry(put) for put in puts]
        for entry in entries:
            queue.join(entry)
        if queue.turn.acquire(timeout=self._deadline_seconds):
            try:
                for entry in entries:
                    if not entry.done:
                        self._write_first(queue, entry, give_up_at)
            finally:
                queue.turn.release()
        else:
            for entry in entries:
                queue.leave(entry)
                if not entry.done:
                    entry.error = self._timed_out(entry)
        return [entry.error for entry in entries]

    def _queue(self) -> _Queue:
        pid = os.getpid()
        return self._queues.get(pid) or self._queues.setdefault(pid, _Queue())

    def _write_first(self, queue: _Queue, entry: _Entry, give_up_at: float) -> None:
        try:
            self._write_group(queue.take(entry), give_up_at)
        except Exception as error:  # noqa: BLE001 - the caller of this put gets it
            entry.error, entry.done = error, True

    def _timed_out(self, entry: _Entry) -> StoreUnavailable:
        # A server lets several threads write at once, so there the server itself is what is waited for.
        is_server = self._store.startswith(("mysql", "postgresql"))
        problem = f"{'no answer within' if is_server else 'other puts took longer than'} {self._deadline_seconds:g} s"
        return StoreUnavailable(self._store, problem, outcome_unknown=entry.taken)

    def _write_group(self, group: list[_Entry], give_up_at: float) -> None:
        try:
            self._write([entry.put for entry in group], give_up_at - time.monotonic())
        except BaseException as error:
            if isinstance(error, StoreUnavailable) and error.outcome_unknown:
                for entry in group:
                    entry.error, entry.done = error, True
                raise
            # One put may have been refused by the database, or the first one's time was over: each of the others is
            # tried again by itself, as long as its own deadline allows.
            for entry in group:
                entry.alone, entry.taken = True, False
            if len(group) == 1 or not isinstance(error, Exception):
                raise
            self._write([group[0].put], give_up_at - time.monotonic())
            group[0].done = True
        else:
            for entry in group:
                entry.done = True

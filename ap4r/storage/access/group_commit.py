"""Group commit: puts that come together are written in one transaction, so that they share one fsync.

There is no thread of its own: whoever comes first writes for all who wait, so nothing has to be started or stopped
and a fork loses nothing.
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
    """One put on its way."""

    __slots__ = ("alone", "done", "error", "put", "taken")

    def __init__(self, put: Put) -> None:
        self.put = put
        self.taken = False  # somebody is writing it
        self.alone = False  # a group that held it failed: it is written by itself
        self.done = False
        self.error: Exception | None = None


class _Line:
    """Those who wait in one process. Whoever has the turn writes."""

    def __init__(self) -> None:
        # A thread may take it again: an exception of a signal's handler may have kept it from giving it back.
        self.turn = threading.RLock()
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not self._waiting

    def join(self, entry: _Entry) -> None:
        with self._lock:
            self._waiting.append(entry)

    def leave(self, entry: _Entry) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def take(self, first: _Entry) -> list[_Entry]:
        """Take `first` and, unless it must be alone, those who wait beside it."""
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

    :param write: stores several puts in one transaction, or none of them and raises, within so many seconds.
    """

    def __init__(self, store: str, write: Callable[[Sequence[Put], float], None], deadline_seconds: float) -> None:
        self._store = store
        self._write = write
        self._deadline_seconds = deadline_seconds
        # By process: after a fork the parent's threads are gone, and with them whoever held its locks.
        self._lines: dict[int, _Line] = {}

    def submit(self, put: Put) -> None:
        """Return when `put` is stored; raise what its writing raised.

        :raises StoreUnavailable: the deadline passed first, with `outcome_unknown` when others were writing it.
        """
        line = self._line()
        if line.is_empty and line.turn.acquire(blocking=False):
            # Nobody writes and nobody waits, as mostly: those who come meanwhile make up the next group.
            try:
                return self._write([put], self._deadline_seconds)
            finally:
                line.turn.release()
        give_up_at = time.monotonic() + self._deadline_seconds
        entry = _Entry(put)
        line.join(entry)
        if line.turn.acquire(timeout=self._deadline_seconds):
            try:
                if not entry.done:
                    self._write_group(line.take(entry), give_up_at)
            finally:
                line.turn.release()
        else:
            line.leave(entry)
            if not entry.done:
                raise self._waited_in_vain(entry)
        if entry.error is not None:
            raise entry.error
        return None

    def submit_together(self, puts: Sequence[Put]) -> list[Exception | None]:
        """Return when every one of `puts` is stored or is known not to be; give what the writing of each raised."""
        give_up_at = time.monotonic() + self._deadline_seconds
        line = self._line()
        entries = [_Entry(put) for put in puts]
        for entry in entries:
            line.join(entry)
        if line.turn.acquire(timeout=self._deadline_seconds):
            try:
                for entry in entries:
                    if not entry.done:
                        self._write_first(line, entry, give_up_at)
            finally:
                line.turn.release()
        else:
            for entry in entries:
                line.leave(entry)
                if not entry.done:
                    entry.error = self._waited_in_vain(entry)
        return [entry.error for entry in entries]

    def _line(self) -> _Line:
        pid = os.getpid()
        return self._lines.get(pid) or self._lines.setdefault(pid, _Line())

    def _write_first(self, line: _Line, entry: _Entry, give_up_at: float) -> None:
        try:
            self._write_group(line.take(entry), give_up_at)
        except Exception as error:  # noqa: BLE001 - it is handed to whoever asked for this put
            entry.error, entry.done = error, True

    def _waited_in_vain(self, entry: _Entry) -> StoreUnavailable:
        # A server lets several write at once, so there it is the server itself that is waited for.
        is_server = self._store.startswith(("mysql", "postgresql"))
        problem = f"{'no answer within' if is_server else 'others wrote for longer than'} {self._deadline_seconds:g} s"
        return StoreUnavailable(self._store, problem, outcome_unknown=entry.taken)

    def _write_group(self, group: list[_Entry], give_up_at: float) -> None:
        try:
            self._write([entry.put for entry in group], give_up_at - time.monotonic())
        except BaseException as error:
            if isinstance(error, StoreUnavailable) and error.outcome_unknown:
                for entry in group:
                    entry.error, entry.done = error, True
                raise
            # One put may be what the database could not take, or the time of the first may have been over: each of
            # the others tries again by itself, for as long as its own deadline allows.
            for entry in group:
                entry.alone, entry.taken = True, False
            if len(group) == 1 or not isinstance(error, Exception):
                raise
            self._write([group[0].put], give_up_at - time.monotonic())
            group[0].done = True
        else:
            for entry in group:
                entry.done = True

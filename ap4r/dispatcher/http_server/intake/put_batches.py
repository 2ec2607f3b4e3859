"""Puts from the intake that are being stored: those that arrive together share one commit.

It sends no answers; it reports when each put is stored, or why not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ap4r.dispatcher.store_worker.store_thread import StoreThread
from ap4r.message.message import Put

_PUTS_A_GROUP = 256
_WAITING_MESSAGES = 20_000
_WAITING_BYTES = 64 * 1024 * 1024


class _Waiting(NamedTuple):
    """A put that is being stored, its messages' bytes, and the Deferred that waits for it."""

    put: Put
    size: int
    answer: Deferred[None]


class PutBatches:
    """Puts into one store, one group after another.

    :param stored: called after every commit that has stored something.
    """

    def __init__(self, store: StoreThread, clock: IReactorTime, stored: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._stored = stored
        self._waiting: list[_Waiting] = []
        self._writing = False
        self._messages = self._bytes = 0
        self._empty: Deferred[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more can be accepted."""
        return self._messages >= _WAITING_MESSAGES or self._bytes >= _WAITING_BYTES

    def emptied(self) -> Deferred[None]:
        """Return a Deferred that fires when nothing is being stored any more."""
        if not self._writing:
            return succeed(None)
        self._empty = self._empty or Deferred()
        return self._empty

    def add(self, put: Put) -> Deferred[None]:
        """Store a put; fires when it is durable, fails with the store's error."""
        one = _Waiting(put, sum([message.size for message in put.messages]), Deferred())
        self._waiting.append(one)
        self._count(one, 1)
        if not self._writing:
            self._writing = True
            # Puts of the same turn of the reactor belong to the same commit.
            self._clock.callLater(0, self._write)
        return one.answer

    def _write(self) -> None:
        group, self._waiting = self._waiting[:_PUTS_A_GROUP], self._waiting[_PUTS_A_GROUP:]
        written = self._store.run("put", partial(self._store.store.put_together, [one.put for one in group]))
        written.addCallbacks(partial(self._ended, group), partial(self._failed, group))

    def _failed(self, group: list[_Waiting], failure: Failure) -> None:
        error = failure.value
        assert isinstance(error, Exception)
        self._ended(group, [error] * len(group))

    def _ended(self, group: list[_Waiting], errors: list[Exception | None]) -> None:
        if None in errors:
            self._stored()
        self._writing = bool(self._waiting)
        if self._writing:
            self._write()
        for one, error in zip(group, errors, strict=True):
            self._count(one, -1)
            if error is None:
                one.answer.callback(None)
            else:
                one.answer.errback(error)
        if not self._writing and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def _count(self, one: _Waiting, sign: int) -> None:
        self._messages += sign * len(one.put.messages)
        self._bytes += sign * one.size

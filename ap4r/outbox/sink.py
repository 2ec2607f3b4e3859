"""Stores an outbox's messages: put, then ring.

A process has one writer for each store, so that puts of several threads can share a commit.

Nothing is opened before the first put.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Protocol

from ap4r.doorbell.ringer import Doorbell
from ap4r.message.message import Put
from ap4r.outbox.monkey_patches import find_partial_patch
from ap4r.settings.settings import Settings
from ap4r.settings.store_url import INTAKE_SCHEMES

_log = logging.getLogger("ap4r.outbox")


class Sink(Protocol):
    """An object that stores messages: a store, or anything else that keeps them.

    With `bells()` its dispatchers are rung, with `status()` their absence is noticed, and `name` appears in logs.
    """

    def put(self, put: Put) -> None:
        """Store all messages of `put`, or raise and store none. A repeat of its id changes nothing."""


class Writer:
    """Puts into one sink and rings its doorbell."""

    def __init__(self, sink: Sink, doorbell: Doorbell | None = None) -> None:
        self._sink = sink
        self._doorbell = doorbell or Doorbell(sink)
        self._logged_pid: int | None = None

    def write(self, put: Put) -> None:
        """Store a put, durable on return, and ring.

        :raises StoreError: nothing was stored, or with `outcome_unknown` perhaps everything.
        """
        if self._logged_pid != os.getpid():
            self._logged_pid = os.getpid()
            _log.info("messages are kept in %s", getattr(self._sink, "name", type(self._sink).__name__))
            problem = find_partial_patch(sys.modules)
            if problem is not None:
                _log.warning("%s", problem)
        self._sink.put(put)
        self._doorbell.ring()


# By process: a store that was used before a fork may hold locks and connections that only the parent can release,
# so a child never uses it and never closes it.
_writers: dict[tuple[int, Settings], Writer] = {}


def writer_to(settings: Settings) -> Writer:
    """Return this process's only writer to the store that `settings` name.

    :raises ConfigError: the store's URL has an unknown kind.
    """
    key = (os.getpid(), settings)
    writer = _writers.get(key)
    if writer is None:
        # Two threads may both get here; nothing is open yet, so the second one's sink is simply dropped.
        writer = _writers.setdefault(key, Writer(_sink_of(settings)))
    return writer


def _sink_of(settings: Settings) -> Sink:
    if settings.store.startswith(INTAKE_SCHEMES):
        from ap4r.outbox.intake_client.client import IntakeClient

        return IntakeClient(settings.store, settings)
    from ap4r.storage.open import open_store

    return open_store(settings.store, settings)


def find_writer(sink: Sink | None, settings: Settings) -> Callable[[], Writer]:
    """Return a callable that returns this process's writer: to `sink`, else to the store that `settings` name.

    :raises ConfigError: `settings` name a store of an unknown kind.
    """
    if sink is not None:
        writer = Writer(sink)
        return lambda: writer
    found = (os.getpid(), writer_to(settings))  # now, so that a wrong URL raises at the start

    def find() -> Writer:
        nonlocal found
        if found[0] != os.getpid():
            found = (os.getpid(), writer_to(settings))
        return found[1]

    return find

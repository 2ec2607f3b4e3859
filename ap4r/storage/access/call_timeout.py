"""Ends calls without an answer: the connection of a call that outlived its deadline is shut down by another thread.

Drivers wait for an answer as long as the connection seems to live; one that was cut silently, or whose server hangs,
can seem to live for hours.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TICK_SECONDS = 0.1  #: the longest time by which a call may outlive its deadline


class Watched:
    """One call over one connection."""

    __slots__ = ("duplicate", "give_up_at", "was_cut")

    def __init__(self, duplicate: socket.socket, give_up_at: float) -> None:
        self.duplicate = duplicate
        self.give_up_at = give_up_at
        self.was_cut = False


class _Watch:
    """Watches the calls of one process while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[Watched] = set()
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, call: Watched) -> None:
        with self._lock:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ap4r-deadlines", daemon=True)
                # Python starts no threads when it is about to exit; then only the drivers' own timeouts apply.
                with suppress(RuntimeError):
                    self._thread.start()
            if not self._busy.is_set():
                self._busy.set()

    def end(self, call: Watched) -> None:
        with self._lock:
            self._calls.discard(call)

    def _run(self) -> None:
        while True:
            self._busy.wait()
            time.sleep(_TICK_SECONDS)
            with self._lock:
                if not self._calls:
                    self._busy.clear()
                now = time.monotonic()
                for call in [call for call in self._calls if call.give_up_at < now]:
                    self._calls.discard(call)
                    call.was_cut = True
                    # Under the lock: the connection of a call that has ended may already belong to the next one.
                    with suppress(OSError):
                        call.duplicate.shutdown(socket.SHUT_RDWR)


_watches: dict[int, _Watch] = {}  # by process: a forked one lacks its parent's threads


@contextmanager
def watched(duplicate: socket.socket | None, give_up_at: float) -> Iterator[Watched | None]:
    """Shut the connection down if the block has not ended at `give_up_at` (monotonic); the driver then sees it lost.

    :param duplicate: of the driver's socket, so that its number cannot belong to another file meanwhile.
    """
    if duplicate is None:
        yield None
        return
    watch = _watches.setdefault(os.getpid(), _Watch())
    call = Watched(duplicate, give_up_at)
    watch.begin(call)
    try:
        yield call
    finally:
        watch.end(call)

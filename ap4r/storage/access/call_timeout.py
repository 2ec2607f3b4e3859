"""The end of calls that nobody answers: a connection whose call has outlived its deadline is cut from outside.

Drivers wait for an answer for as long as the connection seems to live, and one that was cut without a word, or whose
server hangs, seems to live for hours.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TICK_SECONDS = 0.1  #: a call may outlive its deadline by so much


class Watched:
    """One call over one connection."""

    __slots__ = ("give_up_at", "line", "was_cut")

    def __init__(self, line: socket.socket, give_up_at: float) -> None:
        self.line = line
        self.give_up_at = give_up_at
        self.was_cut = False


class _Watch:
    """Looks at the calls of one process while there are any."""

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
                # Python starts no threads when it is about to end; the drivers' own timeouts must do then.
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
                    # Under the lock: a call that has ended may have given its connection to the next one.
                    with suppress(OSError):
                        call.line.shutdown(socket.SHUT_RDWR)


_watches: dict[int, _Watch] = {}  # by process: a forked one has none of its parent's threads


@contextmanager
def watched(line: socket.socket | None, give_up_at: float) -> Iterator[Watched | None]:
    """Cut `line` if the block has not ended at `give_up_at` (monotonic); the driver then sees a lost connection.

    :param line: a duplicate of the driver's socket, so that it cannot have become somebody else's file meanwhile.
    """
    if line is None:
        yield None
        return
    watch = _watches.setdefault(os.getpid(), _Watch())
    call = Watched(line, give_up_at)
    watch.begin(call)
    try:
        yield call
    finally:
        watch.end(call)

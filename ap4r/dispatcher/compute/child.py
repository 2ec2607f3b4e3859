"""The process that computes for the dispatcher: one call after another, each with a limit of CPU time.

Calls arrive on its standard input, results are sent on its original standard output. It ends when the dispatcher does.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH_BYTES = 8  #: before each pickle, its length, the most significant byte first
_NICE = 5  #: so that the dispatcher itself does not wait for it


class NotComputed(Exception):
    """A call raised an exception that cannot be passed on itself: its name and text."""


class Stopping(NotComputed):
    """The dispatcher stops, and nothing was computed."""


def framed(value: object) -> bytes:
    """Return a value in the form in which it is sent between the two processes."""
    pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return len(pickled).to_bytes(LENGTH_BYTES, "big") + pickled


def main(memory_bytes: int) -> None:
    """Serve calls until the input ends."""
    # A signal for the dispatcher alone ends this process too, because its input ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    # Some systems do not have this limit; the deadline of the dispatcher applies there too.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    calls, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of a library must not be a result
    while (call := _next(calls)) is not None:
        seconds, compute = call
        _limit_cpu(seconds)
        results.write(framed(_computed(compute)))
        results.flush()


def _next(calls: BinaryIO) -> tuple[float, Callable[[], Any]] | None:
    length = calls.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    pickled = calls.read(int.from_bytes(length, "big"))
    try:
        call: tuple[float, Callable[[], Any]] = pickle.loads(pickled)
    except Exception as error:  # noqa: BLE001 - returned as the result of that call
        problem = NotComputed(f"{type(error).__name__}: {error}")
        return 1.0, lambda: _raise(problem)
    return call


def _raise(problem: Exception) -> None:
    raise problem


def _limit_cpu(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _computed(compute: Callable[[], Any]) -> tuple[bool, Any]:
    try:
        result = True, compute()
        pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        return False, NotComputed("it needs more memory than allowed")
    except RecursionError:
        return False, NotComputed("it is nested too deeply")
    except Exception as error:  # noqa: BLE001 - the caller gets every exception
        return False, NotComputed(f"{type(error).__name__}: {error}"[:1_000])
    return result

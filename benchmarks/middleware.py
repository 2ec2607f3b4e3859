"""The cost of the middleware for a request without messages, in microseconds.

    python -m benchmarks.middleware [--scale N] [--rounds N]

An application that answers at once, called in a loop as a server would, with and without the middleware around it, in
turn. There is no network, so the difference is the middleware's alone.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from ap4r.middleware import AP4RMiddleware
from benchmarks.draining import new_file
from benchmarks.figure import Figure, Options, run

_AT_ONCE = 1_000


def measure(options: Options) -> list[Figure]:
    """Call both in turn; the medians count, for others may be busy."""
    bare, ours = [], []
    with new_file() as url:
        wrapped = AP4RMiddleware(answer, store=url)
        for _ in range(options.count(100)):
            bare.append(_microseconds(answer))
            ours.append(_microseconds(wrapped))
    without = statistics.median(bare)
    more = statistics.median(ours) - without
    return [Figure("middleware, request without messages", more, "µs", 5, beside=f"bare {without:.2f}")]


def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer 200."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _microseconds(application: Callable[..., Iterable[bytes]]) -> float:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    began_at = time.perf_counter()
    for _ in range(_AT_ONCE):
        call(application, environ)
    return (time.perf_counter() - began_at) / _AT_ONCE * 1e6


def call(application: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> None:
    """Do what a server does with one request."""
    chunks = application(dict(environ), lambda status, headers, exc_info=None: None)
    for _ in chunks:
        pass
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


if __name__ == "__main__":
    sys.exit(run(__doc__, {"middleware": measure}))

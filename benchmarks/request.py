"""What one message adds to a request on SQLite, beside a bare fsynced INSERT into a file next to it.

    python -m benchmarks.request [--scale N] [--rounds N]

A whole request through the middleware that sends one message, and in turn an INSERT of a row as long, committed with
the same journal (WAL) and the same fsync (synchronous=FULL).
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any
from wsgiref.util import setup_testing_defaults

from ap4r.middleware import AP4RMiddleware
from benchmarks.figure import Figure, Options, run
from benchmarks.middleware import call

_ROW_BYTES = 300  #: about what a message takes


def measure(options: Options) -> list[Figure]:
    """Alternate both; the medians count."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        application = AP4RMiddleware(_send, store=f"sqlite:///{folder}/ap4r.db")
        with closing(sqlite3.connect(f"{folder}/bare.db", isolation_level=None)) as bare:
            bare.execute("PRAGMA journal_mode = WAL")
            bare.execute("PRAGMA synchronous = FULL")
            bare.execute("CREATE TABLE row (id BLOB PRIMARY KEY, body BLOB)")
            inserts, requests = [], []
            for _ in range(options.count(3_000)):
                inserts.append(_seconds(lambda: _insert(bare)))
                requests.append(_seconds(lambda: call(application, environ)))
    insert, request = statistics.median(inserts[5:]), statistics.median(requests[5:])
    beside = f"{request * 1e6:,.0f} µs; INSERT {insert * 1e6:,.0f}"
    return [Figure("one message in a request, SQLite", request / insert, "times an INSERT", 1.5, beside=beside)]


def _send(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    environ["ap4r"].async_to("/search/reindex", {"id": "000000000012"})
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _insert(bare: sqlite3.Connection) -> None:
    bare.execute("BEGIN IMMEDIATE")
    bare.execute("INSERT INTO row VALUES (?, ?)", (os.urandom(16), b"x" * _ROW_BYTES))
    bare.execute("COMMIT")


def _seconds(act: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    act()
    return time.perf_counter() - began_at


if __name__ == "__main__":
    sys.exit(run(__doc__, {"request": measure}))

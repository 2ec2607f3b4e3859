"""The cost of one message in a request on SQLite, beside a bare fsynced INSERT into a file next to it.

    python -m benchmarks.request [--scale N] [--rounds N]

A whole request through the middleware that sends one message, and in turn an INSERT of a row as long, committed with
the same journal (WAL) and the same fsync (synchronous=FULL). Beside them the rows of such a message, written by the
bare driver: the rest of a request is Python.
"""

from __future__ import annotations

import os
import random
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
_TABLES = ("ap4r_puts", "ap4r_messages", "ap4r_ready")


def measure(options: Options) -> list[Figure]:
    """Measure in turns; the medians count."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        application = AP4RMiddleware(_send, store=f"sqlite:///{folder}/ap4r.db")
        call(AP4RMiddleware(_send, store=f"sqlite:///{folder}/rows.db"), environ)
        with closing(_opened(f"{folder}/bare.db")) as bare, closing(_opened(f"{folder}/rows.db")) as copy:
            bare.execute("CREATE TABLE row (id BLOB PRIMARY KEY, body BLOB)")
            rows = [_again(copy, table) for table in _TABLES]
            acts: list[Callable[[], object]] = [
                lambda: _insert(bare),
                lambda: _insert_rows(copy, rows),
                lambda: call(application, environ),
            ]
            seconds: list[list[float]] = [[] for _ in acts]
            for _ in range(options.count(3_000)):
                # In random order, because what follows a request finds other data in the processor's caches.
                for kind in random.sample(range(len(acts)), len(acts)):
                    seconds[kind].append(_seconds(acts[kind]))
    insert, three, request = (statistics.median(found[5:]) for found in seconds)
    beside = f"{request * 1e6:,.0f} µs; INSERT {insert * 1e6:,.0f}"
    return [
        Figure("one message in a request, SQLite", request / insert, "times an INSERT", 1.5, beside=beside),
        Figure("of it its rows, by the bare driver", three / insert, "times", beside=f"{three * 1e6:,.0f} µs"),
    ]


def _send(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    environ["ap4r"].async_to("/search/reindex", {"id": "000000000012"})
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _opened(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _again(connection: sqlite3.Connection, table: str) -> tuple[str, int, list[Any]]:
    """Return what inserts a table's only row again, the place of its id, and the row."""
    names = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
    [row] = connection.execute(f"SELECT {', '.join(names)} FROM {table}")
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", names.index("id"), [*row]


def _insert_rows(connection: sqlite3.Connection, rows: Iterable[tuple[str, int, list[Any]]]) -> None:
    message_id = os.urandom(16)
    connection.execute("BEGIN IMMEDIATE")
    for statement, place, row in rows:
        row[place] = message_id
        connection.execute(statement, row)
    connection.execute("COMMIT")


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

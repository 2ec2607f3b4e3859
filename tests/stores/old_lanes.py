"""Queues that were not used for more than a week, which a prune examines."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from sqlalchemy import Engine

from ap4r.storage.schema.tables import Schema
from ap4r.storage.sql_store import SqlStore

SCHEMA = Schema("ap4r_")
#: So many queues that each hold a dead letter, so that they are looked at and stay, take a prune its time.
_FULL = 3_000


def make_old(engine: Engine, names: Sequence[str]) -> int:
    """Create queues that were last used eight days ago; return when that was, as the tables have it."""
    old = int((time.time() - 8 * 86_400) * 1e6)
    with engine.begin() as connection:
        connection.execute(SCHEMA.lanes.insert(), [{"queue": name, "origin": "app", "used_at": old} for name in names])
    return old


def make_full(engine: Engine) -> None:
    """Create so many old queues with a dead letter in each that a prune takes its time."""
    old = make_old(engine, [f"full.{number}" for number in range(_FULL)])
    letter = {
        "died_at": old,
        "reason": "gone",
        "detail": b"",
        "called": True,
        "attempt": 1,
        "failures": 1,
        "crashes": 0,
    }
    with engine.begin() as connection:
        lanes = connection.execute(SCHEMA.lanes.select()).scalars().all()
        connection.execute(SCHEMA.dead.insert(), [{"id": os.urandom(16), "lane": lane, **letter} for lane in lanes])


class Forgetting:
    """A prune in a thread of its own, of which it is known how long it takes."""

    _thread: threading.Thread

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        store.prune()
        began = time.monotonic()
        store.prune()
        self._seconds = time.monotonic() - began

    def begin(self, part: float) -> None:
        """Begin to prune; return when that part of it should be over."""
        self._thread = threading.Thread(target=self._store.prune)
        self._thread.start()
        time.sleep(self._seconds * part)

    def end(self) -> None:
        """Wait until it is over."""
        self._thread.join()

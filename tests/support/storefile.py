"""Read, lock and observe the file of a store without any code of the system under test."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import event

from ap4r.storage.sql_store import SqlStore
from tests.support.probe import wait_until

#: A write-ahead log that is put in order by another process is waited for.
_WAITS_SECONDS = 20.0

STATES = ("ready", "scheduled", "leased", "dead")


@dataclass(frozen=True, slots=True)
class Found:
    """The state of a message and its counters."""

    state: str
    attempt: int
    failures: int
    crashes: int


def look_for(store: Path, message: str) -> Found | None:
    """Find a message in the tables of the states; None when it is in none, which is to say settled or never put."""
    key = uuid.UUID(message).bytes
    with _reading(store) as connection:
        union = " UNION ALL ".join(
            f"SELECT '{state}', attempt, failures, crashes FROM ap4r_{state} WHERE id = :id" for state in STATES
        )
        rows = connection.execute(union, {"id": key}).fetchall()
    assert len(rows) <= 1, f"message {message} stands in several states at once: {rows}"
    return Found(*rows[0]) if rows else None


def count(store: Path, *states: str) -> int:
    """Count the messages in some states, in all when none is named."""
    with _reading(store) as connection:
        sums = " + ".join(f"(SELECT count(*) FROM ap4r_{state})" for state in states or STATES)
        return int(connection.execute(f"SELECT {sums}").fetchone()[0])


def owners(store: Path) -> list[str]:
    """List the dispatchers that the store knows; none when it has no tables yet."""
    if not _has_tables(store):
        return []
    with _reading(store) as connection:
        return [row[0] for row in connection.execute("SELECT owner FROM ap4r_dispatchers ORDER BY started_at")]


def leases_of(store: Path) -> dict[str, str]:
    """Return the owner of each leased message."""
    with _reading(store) as connection:
        rows = connection.execute("SELECT id, owner FROM ap4r_leased").fetchall()
    return {str(uuid.UUID(bytes=key)): owner for key, owner in rows}


def failed_attempts(store: Path, message: str) -> list[tuple[int, str, int | None]]:
    """List the attempts of a message that did not deliver: number, reason, status."""
    with _reading(store) as connection:
        rows = connection.execute(
            "SELECT attempt, reason, status FROM ap4r_attempts WHERE id = ? ORDER BY ended_at",
            (uuid.UUID(message).bytes,),
        )
        return [(row[0], row[1], row[2]) for row in rows]


def due_in(store: Path, message: str) -> float:
    """Return in how many seconds a scheduled message is due."""
    with _reading(store) as connection:
        row = connection.execute(
            "SELECT due_at FROM ap4r_scheduled WHERE id = ?", (uuid.UUID(message).bytes,)
        ).fetchone()
    return float(row[0]) / 1e6 - time.time()


def bodies(store: Path) -> int:
    """Count the stored bodies: it must be that of the messages, or something is left behind."""
    with _reading(store) as connection:
        return int(connection.execute("SELECT count(*) FROM ap4r_messages").fetchone()[0])


@contextmanager
def locked(store: Path, timeout_seconds: float = 20.0) -> Iterator[None]:
    """Hold the write lock of the file."""
    with closing(sqlite3.connect(store, timeout=timeout_seconds, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def _reading(store: Path) -> Iterator[sqlite3.Connection]:
    wait_until(lambda: _has_tables(store), f"{store} has tables")
    with closing(_open(store)) as connection:
        # Several statements must see one state.
        connection.execute("BEGIN")
        yield connection


def _open(store: Path) -> sqlite3.Connection:
    # Not mode=ro: where the process that wrote was killed, the first to open the file has to put its log in order.
    connection = sqlite3.connect(f"file:{store}?mode=rw", uri=True, timeout=_WAITS_SECONDS, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _has_tables(store: Path) -> bool:
    if not store.exists():
        return False
    with closing(_open(store)) as connection:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ap4r_dispatchers'").fetchone()
    return found is not None


def trace(store: SqlStore, told: Callable[[str], None]) -> None:
    """Record each statement that a store runs from now on, as SQLite expands it."""
    engine, opened = store._database.engine(), store._database._opened  # type: ignore[attr-defined]
    event.listen(engine, "checkout", lambda driver, *_: driver.set_trace_callback(told))
    for connection in opened.idle:
        connection.connection.driver_connection.set_trace_callback(told)


def move_bells(store: Path, address: str) -> None:
    """Replace every dispatcher's doorbell by an address without a listener."""
    with closing(sqlite3.connect(store, timeout=20, isolation_level=None)) as connection:
        connection.execute("UPDATE ap4r_dispatchers SET bell = ?", (address,))

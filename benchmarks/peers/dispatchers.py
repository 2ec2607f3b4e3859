"""What the rows of ours have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import ap4r
from ap4r.outbox.handle import Handle
from benchmarks.peers.place import IN_FLIGHT, STORE, Call

_RUN = """
import os, ap4r, twisted.plugins as plugins
from twisted.scripts.twistd import run
plugins.__path__.append(os.path.join(os.path.dirname(ap4r.__file__), "twisted_plugins"))
run()
"""
SETUP = "Its defaults: fsync, leases, deadlines, bounds, address checks. A burst is one commit."
if IN_FLIGHT:
    SETUP += " --concurrency as the work asks, in place of 64."


def commands(count: int) -> list[list[str]]:
    """Return the commands of so many dispatchers of the store."""
    command = [sys.executable, "-c", _RUN, "-n", "ap4r", "--store", f"sqlite:///{STORE}", "--listen", "none"]
    if IN_FLIGHT:
        command += ["--concurrency", str(IN_FLIGHT // count)]
    return [command] * count


def enqueue(calls: Iterable[Call]) -> None:
    """Put messages one after the other, each in a commit of its own."""
    with ap4r.session(f"sqlite:///{STORE}") as handle:
        for call in calls:
            _put(handle, call)
            handle.commit()


def enqueue_bursts(bursts: Iterable[list[Call]]) -> None:
    """Put all of a burst in one commit."""
    with ap4r.session(f"sqlite:///{STORE}") as handle:
        for calls in bursts:
            for call in calls:
                _put(handle, call)
            handle.commit()


def _put(handle: Handle, call: Call) -> None:
    url, number, body, queue = (*call, "", "")[:4]
    handle.async_to(url, body or {"id": f"{number:012d}"}, queue=queue or None)

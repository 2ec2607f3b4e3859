"""ap4r with SQLite, as many dispatchers as the others have processes."""

from __future__ import annotations

from benchmarks.peers import dispatchers

NAME = "ap4r, SQLite, two processes"
STORE_KIND = "sqlite"
SETUP = dispatchers.SETUP
WORKERS = dispatchers.commands(2)
enqueue, enqueue_bursts = dispatchers.enqueue, dispatchers.enqueue_bursts

"""ap4r with SQLite, one dispatcher."""

from __future__ import annotations

from benchmarks.peers import dispatchers

NAME = "ap4r, SQLite, one process"
STORE_KIND = "sqlite"
SETUP = dispatchers.SETUP
WORKERS = dispatchers.commands(1)
enqueue, enqueue_bursts = dispatchers.enqueue, dispatchers.enqueue_bursts

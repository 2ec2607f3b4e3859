"""What the peers keep their tasks in: a durable Redis and PostgreSQL of this run's own, or a file."""

from __future__ import annotations

import glob
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import processes
from tests.support.databases import PostgreSQL
from tests.support.processes import free_port


class Missing(Exception):
    """A peer cannot be measured here; says why."""


class Stores:
    """Starts each server when it is first asked for; as a context manager it ends them."""

    def __init__(self, folder: Path, fsync: str) -> None:
        self._folder = folder
        self._fsync = fsync
        self._redis: subprocess.Popen[bytes] | None = None
        self._redis_port = 0
        self._postgresql: PostgreSQL | None = None
        self._made = 0

    def __enter__(self) -> Stores:
        return self

    def __exit__(self, *_: object) -> None:
        if self._redis is not None:
            processes.stop([self._redis])
        if self._postgresql is not None:
            self._postgresql.remove()

    def make(self, kind: str) -> str:
        """Return the address of an empty store.

        :raises Missing: its server is not installed.
        """
        self._made += 1
        if kind == "redis":
            if self._redis is None:
                self._start_redis()
            self._ask("FLUSHALL")
            return f"redis://127.0.0.1:{self._redis_port}/0"
        if kind == "postgresql":
            if self._postgresql is None:
                if not glob.glob("/usr/lib/postgresql/*/bin/postgres") and shutil.which("postgres") is None:
                    raise Missing("PostgreSQL is not installed (apt-get install postgresql)")
                options = ("-c", "synchronous_commit=on" if self._fsync == "always" else "synchronous_commit=off")
                self._postgresql = PostgreSQL(*options)
                self._postgresql.start()
            return self._postgresql.make(f"peer_{self._made}").replace("+psycopg", "")
        return str(self._folder / f"store_{self._made}.db")

    def pids(self, kind: str) -> list[int]:
        """List the servers of a store, whose CPU counts apart."""
        server: Any = {"redis": self._redis, "postgresql": self._postgresql}.get(kind)
        return [] if server is None else [server.pid]

    def _start_redis(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("Redis is not installed (apt-get install redis-server)")
        self._redis_port = free_port()
        command = [program, "--port", str(self._redis_port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", self._fsync]
        with (self._folder / "redis.log").open("wb") as log:
            self._redis = subprocess.Popen(command, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 10
        while True:
            with suppress(OSError):
                self._ask("PING")
                return
            if time.monotonic() > give_up_at:
                raise Missing("Redis does not start: " + (self._folder / "redis.log").read_text()[-500:])
            time.sleep(0.05)

    def _ask(self, command: str) -> None:
        with socket.create_connection(("127.0.0.1", self._redis_port), 5) as connection:
            connection.sendall(command.encode() + b"\r\n")
            connection.recv(100)

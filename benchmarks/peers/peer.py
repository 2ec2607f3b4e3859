"""One peer under measurement: its store, its workers, its client, each started and ended by process id."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.peers.stores import Missing, Stores

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-peers"
OURS = ("ap4r_1", "ap4r_2")
#: In the order of the table.
PEERS = (
    *reversed(OURS), "taskiq", "dramatiq", "arq", "huey_redis", "huey_sqlite", "celery", "procrastinate", "rq_simple",
    "rq_fork",
)  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """A peer with an empty store of its own."""

    module: str
    name: str
    setup: str
    kind: str
    servers: tuple[int, ...]  #: the store's processes
    folder: Path
    _environ: dict[str, str]
    _told: dict[str, Any]

    def prepare(self) -> None:
        """Do what is done once, before the first task."""
        if self._told["prepare"]:
            self._run(self._command(self._told["prepare"]))

    def client(self, *arguments: str) -> Any:
        """Run the peer's client to its end; return what it found."""
        return json.loads(self._run([self._python, "-m", "benchmarks.peers.client", self.module, *arguments]))

    @contextmanager
    def bursts(self, url: str, size: int, count: int) -> Iterator[Callable[[], float]]:
        """Run the client until the block ends; the value is a function that puts a burst and returns when that began.

        :raises Missing: the client has ended.
        """
        command = [self._python, "-m", "benchmarks.peers.client", self.module, "bursts", url, str(size), str(count)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self._environ, text=True, bufsize=1, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip

        def put() -> float:
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write("\n")
                return float(process.stdout.readline())
            except (OSError, ValueError):
                raise Missing("its client ended") from None

        try:
            yield put
        finally:
            processes.kill([process])

    @contextmanager
    def workers(self) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run the workers until the block ends."""
        started: list[subprocess.Popen[bytes]] = []
        try:
            with self.log.open("ab") as log:
                for command in self._told["workers"]:
                    started.append(
                        subprocess.Popen(
                            self._command(command), cwd=self.folder, env=self._environ, stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log, start_new_session=True,
                        )
                    )  # fmt: skip
            yield started
        finally:
            processes.stop(started)

    def cannot(self, work: str) -> str:
        """Return why it cannot do a kind of work; empty if it can."""
        return str(self._told["cannot"].get(work, ""))

    @property
    def log(self) -> Path:
        """What the workers have said."""
        return self.folder / f"{self.module}.log"

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self._environ, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise Missing((done.stderr or done.stdout).strip().rpartition("\n")[2])
        return done.stdout

    @property
    def _python(self) -> str:
        return _python_of(self.module)

    def _command(self, words: list[str]) -> list[str]:
        if Path(words[0]).is_absolute():
            return words
        for folder in (VENV / self.module / "bin", VENV / "bin"):
            if (folder / words[0]).exists():
                # A program that was installed beside the others names their Python, which is right.
                return [self._python, str(folder / words[0]), *words[1:]]
        raise Missing(f"{words[0]} is not installed")


def _python_of(module: str) -> str:
    if module in OURS:
        return sys.executable
    python = VENV / "bin" / "python"
    if not python.exists():
        raise Missing(f"{VENV.name} is not there: make bench-peers makes it")
    return str(python)


def open_peer(module: str, stores: Stores, folder: Path, environ: Mapping[str, str] | None = None) -> Peer:
    """Return a peer with an empty store.

    :param environ: further variables of its processes.

    :raises Missing: it, or its store, is not installed.
    """
    # Read, for the module itself can only be imported once there is a store.
    [kind] = re.findall(r'^STORE_KIND = "(\w+)"$', Path(__file__).with_name(f"{module}.py").read_text(), re.MULTILINE)
    python = _python_of(module)
    store = stores.make(kind)
    own = VENV / module
    path = os.pathsep.join([*([str(own)] if own.is_dir() else []), str(ROOT)])
    told_all = {"BENCH_STORE": store, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    environ = {**os.environ, **(environ or {}), **told_all}
    told = subprocess.run(
        [python, "-m", "benchmarks.peers.client", module, "describe"],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if told.returncode:
        raise Missing(told.stderr.strip().rpartition("\n")[2])
    found = json.loads(told.stdout)
    setup = " ".join(found["setup"].split())
    peer = Peer(module, found["name"], setup, kind, tuple(stores.pids(kind)), folder, environ, found)
    peer.prepare()
    return peer

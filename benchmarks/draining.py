"""Dispatchers that empty a store: what the benchmarks of delivering share."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ap4r.message.message import Message, Put, new_id
from ap4r.message.target import parse_target
from ap4r.settings.load import load_settings
from ap4r.storage.open import open_store
from benchmarks import processes
from benchmarks.sink import Sink

_RUN = """
import os, ap4r, twisted.plugins as plugins
from twisted.scripts.twistd import run
plugins.__path__.append(os.path.join(os.path.dirname(ap4r.__file__), "twisted_plugins"))
run()
"""
_PUT_BYTES = 8 * 1024 * 1024
_MOST_SECONDS = 300.0


@dataclass(frozen=True)
class Work:
    """Messages that differ in nothing but their id and, in turn, their queue."""

    target: str
    messages: int
    body: bytes = b"id=000000000000"
    queues: int = 1


@dataclass(frozen=True)
class Drained:
    """One round."""

    per_second: float
    cpu_per_1000: float
    megabytes: float


def fill(url: str, work: Work) -> None:
    """Put the work into a store."""
    target, queue = parse_target(work.target)
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    store = open_store(url, load_settings(environ={}, store=url))
    at_once = min(500, max(1, _PUT_BYTES // len(work.body)))
    for start in range(0, work.messages, at_once):
        numbers = range(start, min(start + at_once, work.messages))
        names = (queue if work.queues == 1 else f"{queue}.{number % work.queues}" for number in numbers)
        put = [Message(id=new_id(), queue=name, target=target, headers=headers, body=work.body) for name in names]
        store.put(Put(new_id(), tuple(put)))
    store.close()


@contextmanager
def dispatchers(
    url: str,
    count: int = 1,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    *,
    one_core: bool = False,
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run so many dispatchers of a store until the block ends; they are ready when they log it.

    :param one_core: leave them a single core, the last one, and the others to the sink.
    :raises SystemExit: one did not start.
    """
    started: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-c", _RUN, "-n", "ap4r", "--store", url, "--listen", "none", *options]
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        try:
            logs = [Path(folder, f"log{number}") for number in range(count)]
            for log in logs:
                with log.open("wb") as out:
                    started.append(
                        subprocess.Popen(
                            command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **(environ or {})}
                        )
                    )
                if one_core:  # before it starts its threads, which inherit it
                    os.sched_setaffinity(started[-1].pid, {max(os.sched_getaffinity(0))})
            give_up_at = time.monotonic() + 60
            for process, log in zip(started, logs, strict=True):
                while b"doorbell" not in log.read_bytes():
                    if process.poll() is not None or time.monotonic() > give_up_at:
                        raise SystemExit(f"a dispatcher did not start:\n{log.read_text()[-4000:]}")
                    time.sleep(0.02)
            yield started
        except TimeoutError as error:
            raise SystemExit(f"{error}:\n{logs[0].read_text()[-4000:]}") from None
        finally:
            processes.stop(started, 30.0)


class Count:
    """What a sink has served since, without our own questions."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._before = sink.requests()
        self._asked = 0

    def now(self) -> int:
        """Ask."""
        self._asked += 1
        return self._sink.requests() - self._before - self._asked

    def wait(self, count: int, pause_seconds: float = 0.02) -> tuple[int, float]:
        """Wait until so many are served; return how many are, and when.

        :raises TimeoutError: they are not within five minutes.
        """
        give_up_at = time.monotonic() + _MOST_SECONDS
        while True:
            served, at = self.now(), time.monotonic()
            if served >= count:
                return served, at
            if at > give_up_at:
                raise TimeoutError(f"{served} of {count} messages were delivered")
            time.sleep(pause_seconds)


def drain(
    url: str,
    sink: Sink,
    work: Work,
    *,
    count: int = 1,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    one_core: bool = False,
) -> Drained:
    """Fill a store, let dispatchers empty it, and measure from when a tenth, or 500, are delivered to the last."""
    fill(url, work)
    served = Count(sink)
    with dispatchers(url, count, options, environ, one_core=one_core) as started:
        roots = [process.pid for process in started]
        first, began_at = served.wait(min(500, work.messages // 10))
        cpu = processes.cpu_seconds(roots)
        last, ended_at = served.wait(work.messages)
        used = processes.cpu_seconds(roots) - cpu
        delivered = max(1, last - first)
        return Drained(delivered / (ended_at - began_at), used / delivered * 1000, processes.megabytes(roots))


def middle(rounds: Sequence[Drained]) -> Drained:
    """Return the median of each figure."""
    return Drained(
        statistics.median(one.per_second for one in rounds),
        statistics.median(one.cpu_per_1000 for one in rounds),
        statistics.median(one.megabytes for one in rounds),
    )


@contextmanager
def new_file() -> Iterator[str]:
    """Yield the URL of a new SQLite store, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        yield f"sqlite:///{folder}/ap4r.db"

"""One round of one policy: three servers, a dispatcher, and messages that come at a steady rate."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import ap4r
from benchmarks import processes
from benchmarks.draining import dispatchers
from tests.support.processes import HOST, ROOT, free_port

QUICK, SLOW, STOPPED = "quick", "slow", "stopped"
SERVERS = (QUICK, SLOW, STOPPED)
QUICK_SECONDS = 0.01
SLOWER = 10  #: times
PLACES = 8  #: calls that a server works on at once, like one with so many threads
_PAUSE_SECONDS = 0.02
_MOST_SECONDS = 300.0


@dataclass(frozen=True)
class Load:
    """How many messages come, for how long."""

    per_second: float
    seconds: float


@dataclass
class Figures:
    """What was found of one policy; of each list the median counts."""

    policy: str
    shares: dict[str, list[float]] = field(default_factory=lambda: {server: [] for server in SERVERS})
    p50: list[float] = field(default_factory=list)  #: seconds from the put to the answer
    p99: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)  #: answered, from the first put to the last answer
    again: int = 0  #: messages that cost an attempt, of all rounds

    def share(self, server: str) -> float:
        """Return the share of a server, from 0 to 1."""
        return statistics.median(self.shares[server])


def one_round(figures: Figures, folder: Path, load: Load) -> None:
    """Put messages at the rate, wait until all are answered, and add what was found."""
    ports = {server: free_port() for server in SERVERS}
    config = folder / "ap4r.toml"
    servers = ", ".join(f'"http://{HOST}:{port}"' for port in ports.values())
    store = f"sqlite:///{folder}/ap4r.db"
    config.write_text(
        f'store = "{store}"\n[upstreams.web]\nservers = [{servers}]\nbalance = "{figures.policy}"\n', encoding="utf-8"
    )
    with _served(ports) as urls, dispatchers(store, options=("--config", str(config))):
        began_at = time.monotonic()
        sent = _put(config, load)
        found = _wait(urls, sent)
        took_seconds = time.monotonic() - began_at
    seconds = [one for of_server in found.values() for one in of_server["seconds"]]
    percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
    figures.p50.append(percentiles[49])
    figures.p99.append(percentiles[98])
    figures.per_second.append(len(seconds) / took_seconds)
    figures.again += sum(of_server["again"] for of_server in found.values()) + len(seconds) - sent
    for server in SERVERS:
        answered = len(found[server]["seconds"]) if server in found else 0
        figures.shares[server].append(answered / len(seconds))


@contextmanager
def _served(ports: dict[str, int]) -> Iterator[dict[str, str]]:
    """Run the servers that run; return their URLs."""
    urls = {server: f"http://{HOST}:{ports[server]}" for server in (QUICK, SLOW)}
    started = []
    try:
        for server in urls:
            pause_seconds = QUICK_SECONDS * (SLOWER if server == SLOW else 1)
            command = [sys.executable, "-m", "benchmarks.balance.server"]
            command += [str(ports[server]), str(pause_seconds), str(PLACES)]
            started.append(subprocess.Popen(command, cwd=ROOT))
        give_up_at = time.monotonic() + 20
        for url in urls.values():
            while time.monotonic() < give_up_at:
                with suppress(OSError):
                    _ask(url)
                    break
                time.sleep(0.02)
        yield urls
    finally:
        processes.kill(started)


def _put(config: Path, load: Load) -> int:
    """Put the messages of a load, a few in each commit; return how many."""
    began_at, sent = time.monotonic(), 0
    # All of them, however late: the first commit creates the store, which can take as long as the whole load.
    total = max(1, round(load.seconds * load.per_second))
    while sent < total:
        due = min(total, 1 + int((time.monotonic() - began_at) * load.per_second))
        with ap4r.session(config=config) as handle:
            while sent < due:
                handle.async_to("web:/work", {"at": repr(time.monotonic())})
                sent += 1
        time.sleep(_PAUSE_SECONDS)
    return sent


def _wait(urls: dict[str, str], sent: int) -> dict[str, dict[str, list[float]]]:
    give_up_at = time.monotonic() + _MOST_SECONDS
    while True:
        found = {server: _ask(url) for server, url in urls.items()}
        answered = sum(len(of_server["seconds"]) for of_server in found.values())
        if answered >= sent:
            return found
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{answered} of {sent} messages were answered")
        time.sleep(0.1)


def _ask(url: str) -> dict[str, list[float]]:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)  # type: ignore[no-any-return]

"""What is measured of a peer, a function each; nothing here knows which peer it is."""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes
from benchmarks.peers.peer import Peer, open_peer
from benchmarks.peers.receiver import receiver
from benchmarks.peers.stores import Missing, Stores
from benchmarks.sink import Sink

_START_SECONDS = 60.0
_LATEST_SECONDS = 10.0  #: what has not come by then counts as this late


@dataclass
class Figures:
    """What was found of one peer; of each list the median counts."""

    name: str
    setup: str = ""
    deliveries: list[float] = field(default_factory=list)  #: a second
    cpu: list[float] = field(default_factory=list)  #: seconds per 1,000, of the workers and all they forked
    store_cpu: list[float] = field(default_factory=list)  #: the same of the store's server; none for a file
    enqueued: list[float] = field(default_factory=list)  #: a second, one after the other, each durable
    rss: list[float] = field(default_factory=list)  #: megabytes at the end of a round, all processes
    pss: list[float] = field(default_factory=list)  #: the same, with pages that several share counted once
    latency: list[float] = field(default_factory=list)  #: milliseconds of each call
    again_seconds: float | None = None  #: from the kill until the task ran again
    waited_seconds: float | None = None  #: so long it was waited for
    skipped: str = ""

    def middle(self, name: str) -> float | None:
        """Give the median of what was measured, if it was."""
        values = getattr(self, name)
        return statistics.median(values) if values else None


def throughput(peer: Peer, sink: Sink, figures: Figures, messages: int, most_seconds: float) -> None:
    """Enqueue with no worker running, then let the workers deliver, and measure both.

    The clock of the deliveries starts when a tenth, or 500, have come: then all processes are up and warm.
    """
    figures.enqueued.append((messages - 1) / peer.client("enqueue", f"{sink.url}/hook", str(messages))["seconds"])
    warm_up = min(500, messages // 10)
    before, asked = sink.requests(), 0

    def wait_for(count: int, give_up_at: float, started: list[subprocess.Popen[bytes]]) -> tuple[int, float]:
        nonlocal asked
        while True:
            asked += 1
            served = sink.requests() - before - asked
            now = time.monotonic()
            if served >= count or now > give_up_at:
                return served, now
            if all(process.poll() is not None for process in started):
                raise Missing(f"its workers ended: {_last_words(peer.log)}")
            time.sleep(0.02)

    with peer.workers() as started:
        roots = [process.pid for process in started]
        first, began_at = wait_for(warm_up, time.monotonic() + _START_SECONDS, started)
        if first < warm_up:
            raise Missing(f"it delivers nothing: {_last_words(peer.log)}")
        cpu, store_cpu = processes.cpu_seconds(roots), processes.cpu_seconds(peer.servers)
        last, ended_at = wait_for(messages, began_at + most_seconds, started)
        figures.cpu.append((processes.cpu_seconds(roots) - cpu) / max(1, last - first) * 1000)
        if peer.servers:
            used = processes.cpu_seconds(peer.servers) - store_cpu
            figures.store_cpu.append(used / max(1, last - first) * 1000)
        figures.deliveries.append((last - first) / (ended_at - began_at))
        figures.rss.append(processes.megabytes(roots))
        figures.pss.append(processes.megabytes(roots, "Pss"))


def latency(peer: Peer, figures: Figures, messages: int, rate: float) -> None:
    """Put calls at a low rate; measure from the beginning of each put to the request's arrival."""
    with receiver() as target, peer.workers():
        warm = {int(number): at for number, at in peer.client("trickle", f"{target.url}/warm", "3", "5").items()}
        if not all(target.wait("/warm", number, 1, _START_SECONDS) for number in warm):
            raise Missing(f"it delivers nothing: {_last_words(peer.log)}")
        begun = peer.client("trickle", f"{target.url}/one", str(messages), str(rate))
        for number, at in begun.items():
            came = target.wait("/one", int(number), 1, _LATEST_SECONDS)
            arrived_at = target.arrivals["/one", int(number)][0] if came else at + _LATEST_SECONDS
            figures.latency.append((arrived_at - at) * 1000)


def killed(peer: Peer, figures: Figures, seconds: float) -> None:
    """Kill every worker while a task waits for its answer, start them anew, and see when the task runs again."""
    with receiver() as target:
        with peer.workers() as started:
            peer.client("enqueue", f"{target.url}/hold", "1")
            if not target.wait("/hold", 0, 1, _START_SECONDS):
                raise Missing(f"it delivers nothing: {_last_words(peer.log)}")
            processes.kill(started)
        killed_at = time.monotonic()
        with peer.workers():
            if target.wait("/hold", 0, 2, seconds):
                figures.again_seconds = target.arrivals["/hold", 0][1] - killed_at
            figures.waited_seconds = seconds
            target.release()


def opened(module: str, stores: Stores, folder: Path, figures: Figures) -> Peer:
    """Give the peer with an empty store, and note its name."""
    peer = open_peer(module, stores, folder)
    figures.name, figures.setup = peer.name, peer.setup
    return peer


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "(they said nothing)"

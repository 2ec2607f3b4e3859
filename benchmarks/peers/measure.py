"""What is measured of a peer, a function each; nothing here knows which peer it is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes
from benchmarks.peers.peer import Peer, open_peer
from benchmarks.peers.receiver import receiver
from benchmarks.peers.served import Served, last_words
from benchmarks.peers.stores import Missing, Stores
from benchmarks.sink import Sink

START_SECONDS = 60.0  #: for a peer to deliver its first
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
    in_flight: int = 0  #: the most that a slow target has seen at once
    again_seconds: float | None = None  #: from the kill until the task ran again
    waited_seconds: float | None = None  #: so long it was waited for
    skipped: str = ""

    def middle(self, name: str) -> float | None:
        """Return the median of what was measured, if it was."""
        values = getattr(self, name)
        return statistics.median(values) if values else None


def throughput(
    peer: Peer, sink: Sink, figures: Figures, messages: int, most_seconds: float, *, url: str | None = None
) -> None:
    """Enqueue with no worker running, then let the workers deliver, and measure both.

    The clock of the deliveries starts when a tenth, or 500, have come: then all processes are up and warm.

    :param url: what is called, if not the sink's usual one.
    """
    put = peer.client("enqueue", url or f"{sink.url}/hook", str(messages))
    figures.enqueued.append((messages - 1) / put["seconds"])
    warm_up = min(500, messages // 10)
    served = Served(sink, peer.log)
    with peer.workers() as started:
        roots = [process.pid for process in started]
        first, began_at = served.wait(warm_up, time.monotonic() + START_SECONDS, started)
        if first < warm_up:
            raise Missing(f"it delivers nothing: {last_words(peer.log)}")
        spent = Spent(peer, roots)
        last, ended_at = served.wait(messages, began_at + most_seconds, started)
        spent.note(figures, last - first)
        figures.deliveries.append((last - first) / (ended_at - began_at))


class Spent:
    """The CPU that a peer and its store use from now on."""

    def __init__(self, peer: Peer, roots: list[int]) -> None:
        self._peer, self._roots = peer, roots
        self._workers, self._store = processes.cpu_seconds(roots), processes.cpu_seconds(peer.servers)

    def note(self, figures: Figures, delivered: int) -> None:
        """Add it to the figures, with the memory that is now in use."""
        thousands = max(1, delivered) / 1000
        figures.cpu.append((processes.cpu_seconds(self._roots) - self._workers) / thousands)
        if self._peer.servers:
            figures.store_cpu.append((processes.cpu_seconds(self._peer.servers) - self._store) / thousands)
        figures.rss.append(processes.megabytes(self._roots))
        figures.pss.append(processes.megabytes(self._roots, "Pss"))


def latency(peer: Peer, figures: Figures, messages: int, rate: float) -> None:
    """Put calls at a low rate; measure from the beginning of each put to the request's arrival."""
    with receiver() as target, peer.workers():
        warm = {int(number): at for number, at in peer.client("trickle", f"{target.url}/warm", "3", "5").items()}
        if not all(target.wait("/warm", number, 1, START_SECONDS) for number in warm):
            raise Missing(f"it delivers nothing: {last_words(peer.log)}")
        begun = peer.client("trickle", f"{target.url}/one", str(messages), str(rate))
        for number, at in begun.items():
            came = target.wait("/one", int(number), 1, _LATEST_SECONDS)
            arrived_at = target.arrivals["/one", int(number)][0] if came else at + _LATEST_SECONDS
            figures.latency.append((arrived_at - at) * 1000)


def killed(peer: Peer, figures: Figures, seconds: float) -> None:
    """Kill every worker while a task waits for its response, restart them, and measure when the task runs again."""
    with receiver() as target:
        with peer.workers() as started:
            peer.client("enqueue", f"{target.url}/hold", "1")
            if not target.wait("/hold", 0, 1, START_SECONDS):
                raise Missing(f"it delivers nothing: {last_words(peer.log)}")
            processes.kill(started)
        killed_at = time.monotonic()
        with peer.workers():
            if target.wait("/hold", 0, 2, seconds):
                figures.again_seconds = target.arrivals["/hold", 0][1] - killed_at
            figures.waited_seconds = seconds
            target.release()


def opened(
    module: str, stores: Stores, folder: Path, figures: Figures, environ: Mapping[str, str] | None = None
) -> Peer:
    """Yield the peer with an empty store, and record its name.

    :param environ: variables that describe the work to its processes.
    """
    peer = open_peer(module, stores, folder, environ)
    figures.name, figures.setup = peer.name, peer.setup
    return peer

"""The kinds of work beside the usual one, each with the target it goes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sink import Sink, nginx_sink
from benchmarks.slow import slow_sink
from tests.support.certificates import issue


@dataclass(frozen=True)
class Work:
    """What is asked of every peer alike."""

    name: str
    share: float  #: of the messages of a round
    in_flight: int = 0  #: calls at once, of all processes of a peer; 0: as many as is usual with it
    body_bytes: int = 0  #: 0: a form of 15
    queues: int = 0  #: names in turn; 0: one

    @property
    def environ(self) -> dict[str, str]:
        """Pass it to a peer's processes (place.py)."""
        told = {"BENCH_IN_FLIGHT": self.in_flight, "BENCH_BODY_BYTES": self.body_bytes, "BENCH_QUEUES": self.queues}
        return {name: str(value) for name, value in told.items()}

    def count(self, messages: int) -> int:
        """Return how many a round has, where the usual work has so many."""
        return max(20, round(messages * self.share))


#: The shares are such that a round of each takes about as long; each name of `names` should come up.
WORKS = {
    work.name: work
    for work in (
        Work("https", 2),
        Work("slow", 4, in_flight=2_000),
        Work("large", 0.1, body_bytes=1_048_576),
        Work("names", 5, queues=10_000),
        Work("bursts", 1),
    )
}
BURST = 1_000


@dataclass(frozen=True)
class Target:
    """Where the calls of a work go, and who counts them."""

    sink: Sink
    url: str
    environ: dict[str, str] = field(default_factory=dict)  #: what its callers need


@contextmanager
def open_target(work: Work, folder: Path) -> Iterator[Target]:
    """Run the target of a work until the block ends."""
    if work.name == "slow":
        with slow_sink() as sink:
            yield Target(sink, f"{sink.url}/hook")
    elif work.name == "https":
        issued = issue(folder / "certificates", "127.0.0.1")
        # Python's ssl reads the first, and with it ours and aiohttp; requests reads the second.
        environ = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(issued.authority))
        with nginx_sink(issued.certificate, issued.key) as sink:
            yield Target(sink, f"{sink.secure_url}/hook", environ)
    else:
        with nginx_sink() as sink:
            yield Target(sink, f"{sink.url}/hook")

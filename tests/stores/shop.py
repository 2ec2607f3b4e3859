"""A web process, a dispatcher and a target around a database of a server, and clients that never stop asking."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.support.client import Asked
from tests.support.cluster import Cluster
from tests.support.databases import Server
from tests.support.ledger import Comparison, Line, compare, read_ledger
from tests.support.load import Load, Wish, without_end
from tests.support.probe import wait_until
from tests.support.processes import Process, Processes
from tests.support.system import System
from tests.support.target import ScriptedTarget

RECOVERS_SECONDS = 60.0
STATES = ("ready", "scheduled", "leased")


class ServerSystem(System):
    """A system whose store is a database of a server."""

    def __init__(
        self, processes: Processes, target: ScriptedTarget, server: Server | Cluster, url: str, database: str
    ) -> None:
        super().__init__(processes, target)
        self._server = server
        self._url = url
        self._database = database

    @property
    def url(self) -> str:
        """The store's URL."""
        return self._url

    def launch_dispatcher(self, name: str = "dispatcher", **environ: str) -> Process:
        """Start a dispatcher that delivers to a door of its own, and do not wait for it."""
        return self.processes.twistd_ap4r(
            *("--store", self.url, "--app-url", self.target.door(name), "--listen", "none"), name=name, **environ
        )

    def wait_until_known(self, *dispatchers: Process) -> None:
        """Wait until so many dispatchers have registered."""
        wait_until(
            lambda: not all(one.running for one in dispatchers) or len(self.owners()) >= len(dispatchers),
            "all dispatchers have registered",
            timeout_seconds=RECOVERS_SECONDS,
            otherwise=lambda: "".join(one.tail for one in dispatchers),
        )
        for one in dispatchers:
            assert one.running, f"{one.name} ended{one.tail}"

    def arrivals(self, name: str) -> int:
        """Count what a dispatcher has delivered."""
        return sum(request.door == name for request in list(self.target.requests))

    def owners(self) -> list[str]:
        """List the dispatchers that the store knows; none while it has no tables."""
        try:
            rows = self._server.execute("SELECT owner FROM ap4r_dispatchers", self._database)
        except Exception:  # noqa: BLE001 - there are no tables yet, or the server is away
            return []
        return [str(row[0]) for row in rows]

    def left(self) -> int:
        """Count what is ready, scheduled or leased."""
        counts = [self._server.execute(f"SELECT count(*) FROM ap4r_{state}", self._database) for state in STATES]
        return sum(int(rows[0][0]) for rows in counts)

    def wait_until_empty(self, timeout_seconds: float = RECOVERS_SECONDS) -> None:
        """Wait until nothing is ready, scheduled or leased."""
        wait_until(
            lambda: self.left() == 0, "everything is settled", timeout_seconds=timeout_seconds, every_seconds=0.1
        )


class Clients:
    """Threads that ask the web process for messages until they are stopped.

    :param name: what the names of their requests begin with, where several ask.
    :param answer: how the target is to answer.
    """

    def __init__(self, system: System, threads: int = 6, *, name: str = "", answer: str = "200") -> None:
        self._load = Load(system.web_port, system.ledger_file(f"clients{name}"), threads)
        one, three = Wish(name, "one_chunk", answer=answer), Wish(name, "several_chunks", answer=answer, messages=3)
        self._load.start(without_end(one, three))

    def answered(self) -> int:
        """Count the requests that were answered with a success."""
        return sum(asked.status == 200 and asked.whole for _, asked in self.answers())

    def refused(self) -> int:
        """Count the requests that were answered 503."""
        return sum(asked.status == 503 for _, asked in self.answers())

    def wait_until_refused(self, count: int = 6) -> None:
        """Wait until so many further requests were answered 503."""
        before = self.refused()
        wait_until(
            lambda: self.refused() >= before + count,
            f"{count} requests are refused",
            timeout_seconds=RECOVERS_SECONDS,
            otherwise=lambda: str(Counter(asked.status for _, asked in self.answers())),
        )

    def wait_for_successes(self, count: int = 20) -> float:
        """Wait until so many further requests have succeeded; return the seconds until the first did."""
        before, began = self.answered(), time.monotonic()
        first: list[float] = []

        def enough() -> bool:
            found = self.answered() - before
            if found and not first:
                first.append(time.monotonic() - began)
            return found >= count

        wait_until(enough, f"{count} requests have succeeded", timeout_seconds=RECOVERS_SECONDS)
        return first[0]

    def stop(self) -> Counter[int]:
        """Stop asking; return how many answers there were of each status."""
        self._load.stop()
        return Counter(asked.status for _, asked in self.answers())

    def answers(self) -> list[tuple[Wish, Asked]]:
        """Return every answer so far."""
        return list(self._load.asked)


def held_ledger(system: System) -> Comparison:
    """Wait until all that was acknowledged has arrived; hold that it did so once, and that no success was a lie."""
    wait_until(
        lambda: not compare(read_ledger(system.ledger)).lost,
        "everything acknowledged has arrived",
        timeout_seconds=RECOVERS_SECONDS,
        every_seconds=0.5,
        otherwise=lambda: str(compare(read_ledger(system.ledger))),
    )
    lines = read_ledger(system.ledger)
    found = compare(lines)
    assert not found.unexpected and not found.false_successes, str(found)
    # No dispatcher was killed, and the target has answered every call well: there is no reason for a second one.
    assert not found.repeated, str(found)
    assert not (both := called_together(lines)), f"called by two at once: {both}"
    return found


def called_together(lines: Iterable[Line]) -> list[str]:
    """List the messages of which the target was called again before it had answered the call before."""
    calls: dict[str, set[int]] = defaultdict(set)
    together = []
    for line in lines:
        if line["kind"] == "arrival":
            if calls[line["id"]]:
                together.append(line["id"])
            calls[line["id"]].add(line["attempt"])
        elif line["kind"] == "answer":
            calls[line["id"]].discard(line["attempt"])
    return together

"""The attacked system: a real dispatcher and a web server with one store, their cost, and the attackers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.attacks.application import FOLDER_VARIABLE, SECRET
from benchmarks.attacks.callers import Victims
from benchmarks.attacks.reactor_turns import longest_turns
from tests.support import storefile
from tests.support.probe import wait_until
from tests.support.processes import HOST, Process, Processes, free_port

HONEST_TOKEN, HOSTILE_TOKEN = "honest-token-of-one-tenant", "token-of-a-hostile-tenant"
#: How much less than the attacked the attackers count with the scheduler, where they share a core.
NICE = 10
#: Descriptors that the dispatcher may have, so that there are few enough to exhaust.
_DESCRIPTORS = 512


@dataclass(frozen=True)
class Sample:
    """What the processes had at one moment."""

    at: float
    dispatcher_megabytes: float
    dispatcher_descriptors: int
    children: int
    children_megabytes: float
    web_megabytes: float
    web_descriptors: int


class System:
    """The attacked and the attackers, started in one folder; `started` ends them all."""

    def __init__(self, started: Processes, connections: int) -> None:
        cores = sorted(os.sched_getaffinity(0))
        #: Where attackers run; everything else, what is forked from now on too, runs on the other cores.
        self.hostile_cores, self.honest_cores = cores[-1:], cores[:-1] or cores
        self._cores = ",".join(map(str, cores))
        os.sched_setaffinity(0, self.honest_cores)
        self.folder = started.folder
        self.store = self.folder / "ap4r.db"
        self.web_port, self.listen_port = free_port(), free_port()
        url = f"sqlite:///{self.store}"
        self._started = started
        self.dispatcher = self._start_dispatcher(url)
        self.web = started.gunicorn(
            "benchmarks.attacks.application:make_application()",
            self.web_port,
            "--workers=2",
            "--worker-class=gthread",
            "--threads=8",
            AP4R_STORE=url,
            **{FOLDER_VARIABLE: str(self.folder)},
        )
        victims = Victims(self.listen_port, self.web_port, HOSTILE_TOKEN)
        settings = json.dumps(
            {"victims": asdict(victims), "connections": connections, "nice": NICE, "cores": self.hostile_cores}
        )
        command = (sys.executable, "-m", "benchmarks.attacks.attackers", str(self.folder), settings)
        self.attackers = started.start("attackers", *command)
        wait_until(
            lambda: (self.folder / "attacks.json").exists() or not self.attackers.running,
            "the attackers are ready",
            timeout_seconds=30,
            otherwise=lambda: self.attackers.tail,
        )

        for process, less in ((self.dispatcher, 0), (self.web, 0), (self.attackers, NICE)):
            _weigh(process, os.getpriority(os.PRIO_PROCESS, 0) + less)

    def attack(self, kinds: Sequence[str] | None) -> None:
        """Begin the attacks whose names have one of these parts (all, where there is none); None ends them."""
        flag = self.folder / "attack"
        if kinds is None:
            flag.unlink(missing_ok=True)
        else:
            beside = self.folder / "attack.new"
            beside.write_text("\n".join(kinds))
            beside.replace(flag)

    def sample(self, at: float) -> Sample:
        """Look at the processes.

        :raises SystemExit: one of them has ended.
        """
        for process in (self.dispatcher, self.web, self.attackers):
            if not process.running:
                raise SystemExit(f"{process.name} has ended{process.tail}")
        children = processes.tree(self.dispatcher.pid)[1:]
        web = processes.tree(self.web.pid)
        return Sample(
            at,
            _megabytes([self.dispatcher.pid]),
            _descriptors([self.dispatcher.pid]),
            len(children),
            _megabytes(children),
            _megabytes(web),
            _descriptors(web),
        )

    def cpu_seconds(self) -> dict[str, float]:
        """Return what each has used so far, with what it has forked."""
        pids = {"dispatcher": self.dispatcher.pid, "web": self.web.pid, "attackers": self.attackers.pid}
        used = {name: processes.cpu_seconds([pid]) for name, pid in pids.items()}
        return {**used, "load and measuring": sum(os.times()[:2])}

    def longest_turns(self) -> list[tuple[float, float]]:
        """Return the longest turns of the dispatcher's reactor: times, and milliseconds of CPU."""
        return longest_turns(self.folder / "turns")

    def effects(self) -> tuple[int, int]:
        """Count the webhooks that had an effect, and the effects that one had too many."""
        events = (self.folder / "effects").read_text().split()
        return len(set(events)), len(events) - len(set(events))

    def breaches(self) -> list[str]:
        """List the paths by which an internal action was reached without a delivery."""
        return sorted(set((self.folder / "breaches").read_text().splitlines()))

    def attacks(self) -> dict[str, dict[str, Any]]:
        """Return what the attackers have counted."""
        return dict(json.loads((self.folder / "attacks.json").read_text()))

    def made(self) -> int:
        """Count the attacks of callers so far."""
        counted = self.attacks().items()
        return sum(sum(told["outcomes"].values()) for kind, told in counted if kind.startswith("caller"))

    def unsettled(self) -> int:
        """Count the messages that are neither settled nor dead."""
        return storefile.count(self.store, "ready", "scheduled", "leased")

    def dead(self) -> int:
        """Count the dead letters."""
        return storefile.count(self.store, "dead")

    def _start_dispatcher(self, url: str) -> Process:
        limited = ("bash", "-c", f'ulimit -n {_DESCRIPTORS}; exec "$0" "$@"', sys.executable)
        process = self._started.twistd_ap4r(
            "--store",
            url,
            "--app-url",
            f"http://{HOST}:{self.web_port}",
            "--listen",
            f"tcp:{self.listen_port}:interface={HOST}",
            before=(*limited, "-m", "benchmarks.attacks.attacked_dispatcher", str(self.folder / "turns"), self._cores),
            AP4R_INTAKE_TOKEN=f"{HONEST_TOKEN},{HOSTILE_TOKEN}",
            AP4R_SECRETS=SECRET,
        )
        self._started.wait_until_listening(process, self.listen_port)
        return process


def _weigh(process: Process, nice: int) -> None:
    """Set the nice value of a session: where Linux groups by sessions, those of processes count within one only."""
    with suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(min(nice, 19)))


def _megabytes(pids: Iterable[int]) -> float:
    """Add up the memory of processes, without what they have forked."""
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _descriptors(pids: Iterable[int]) -> int:
    """Add up the open descriptors of processes."""
    count = 0
    for pid in pids:
        with suppress(OSError):
            count += len(os.listdir(f"/proc/{pid}/fd"))
    return count

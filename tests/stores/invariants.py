"""Start a crowd, and hold what its members wrote down against what must be true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.lines import whole_lines
from tests.support.processes import ROOT


class Crowd:
    """Processes full of threads that use stores for so many seconds, or for so many puts."""

    def __init__(self, folder: Path, amount: float) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._amount = amount
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def add(self, role: str, threads: int, urls: Sequence[str]) -> None:
        """Start a process with so many members, each on one of the URLs in turn."""
        command = [sys.executable, "-m", "tests.stores.crowd", role, str(threads), str(self._amount)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [*command, str(self.folder), *urls],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)

    def go(self) -> None:
        """Wait until all are ready, and let them begin."""
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.close()
            process.stdin = None

    def wait(self, seconds: float) -> CrowdResult:
        """Wait for the end of all, and read what they wrote."""
        for process in self._processes:
            _, said = process.communicate(timeout=seconds)
            assert process.returncode == 0, said
        return read_results(self.folder)


@dataclass
class CrowdResult:
    """What a crowd did."""

    put: set[str] = field(default_factory=set)  #: acknowledged
    tried: set[str] = field(default_factory=set)  #: put or in doubt or refused
    delivered: Counter[str] = field(default_factory=Counter)  #: settled as delivered
    lost_leases: int = 0
    overlaps: list[str] = field(default_factory=list)  #: held by two at once
    claims: int = 0
    retried: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    put_at: list[float] = field(default_factory=list)  #: instants at which puts were acknowledged
    slowest_put: float = 0.0  #: seconds, where it was measured

    @property
    def seconds(self) -> float:
        """What lay between the first put and the last."""
        return max(self.put_at, default=0.0) - min(self.put_at, default=0.0)

    def __str__(self) -> str:
        return (
            f"{len(self.put)} put, {self.claims} claimed, {self.delivered.total()} delivered, {self.retried} "
            f"transactions tried again, {self.lost_leases} leases lost, {len(self.errors)} errors"
        )

    def assert_invariants(self) -> None:
        """Hold that nothing acknowledged is lost, nothing unknown arrived, and nothing was held or settled twice."""
        assert not self.put - set(self.delivered), f"lost: {len(self.put - set(self.delivered))}; {self}"
        assert not set(self.delivered) - self.tried
        assert max(self.delivered.values(), default=0) <= 1, "settled twice"
        assert not self.overlaps, f"held by two at once: {self.overlaps[:5]}"


def read_results(folder: Path) -> CrowdResult:
    """Read what all members wrote."""
    found = CrowdResult()
    held: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in folder.glob("*.jsonl"):
        since: dict[str, float] = {}
        for line in map(json.loads, whole_lines(path)):
            match line["kind"]:
                case "trying":
                    found.tried.update(line["ids"])
                case "put":
                    found.put.update(line["ids"])
                    found.put_at.append(line["at"])
                    found.slowest_put = max(found.slowest_put, line.get("seconds", 0.0))
                case "claimed":
                    found.claims += 1
                    since[line["id"]] = line["at"]
                case "held":
                    held[line["id"]].append((since.pop(line["id"]), line["until"]))
                    found.lost_leases += line["answer"] == "lease_lost"
                    if line["delivered"] and line["answer"] == "settled":
                        found.delivered[line["id"]] += 1
                case "retried":
                    found.retried += line["count"]
                case "error":
                    found.errors.append(line)
    for message, spans in held.items():
        spans.sort()
        if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
            found.overlaps.append(message)
    return found

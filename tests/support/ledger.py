"""The ledger that is kept outside the system: what the servers saw, in files that survive every kill.

Each process appends lines to a file of its own; `compare` holds what was promised against what arrived.
It reads nothing of the system under test.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.lines import whole_lines

Line = Mapping[str, Any]


class Verdict(StrEnum):
    """What the server's side says of a request."""

    COMMIT = "commit"
    ABORT = "abort"
    DOUBT = "doubt"  #: unknown: it was killed between its own end and the last byte


class LedgerFile:
    """One process's part of the ledger. A line is written by one call, and is on the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)

    def write(self, kind: str, **facts: object) -> None:
        """Append a line. `at` is the machine's monotonic clock, the same in all of its processes."""
        line = json.dumps({"kind": kind, "at": time.monotonic(), **facts}, separators=(",", ":"))
        os.write(self._file, line.encode() + b"\n")
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_ledger(folder: Path) -> list[Line]:
    """Read the whole ledger of a folder in order of time. A last line that a kill cut short was never written."""
    lines: list[Line] = []
    for path in folder.glob("*.jsonl"):
        for text in whole_lines(path):
            lines.append(json.loads(text))
    return sorted(lines, key=lambda line: float(line["at"]))


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that the target read in full. `well` when it was to be answered with a success."""

    id: str
    attempt: int
    at: float
    well: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was promised against what arrived. All lists are of message ids."""

    verdicts: Mapping[str, Verdict]
    arrivals: Mapping[str, list[Arrival]]
    lost: list[str] = field(default_factory=list)  #: committed, never answered with a success, and no dead letter
    unexpected: list[str] = field(default_factory=list)  #: arrived although aborted, or never put at all
    repeated: list[str] = field(default_factory=list)  #: arrived again after a call that was to be answered well
    false_successes: list[str] = field(default_factory=list)  #: aborted, although the client read a whole success
    attempts_fell: list[str] = field(default_factory=list)  #: a later call did not have a higher number

    @property
    def counts(self) -> Counter[Verdict]:
        """How many messages had each verdict."""
        return Counter(self.verdicts.values())

    @property
    def repeats(self) -> int:
        """How many calls there were after one that was to be answered with a success."""
        return sum(call.well for calls in self.arrivals.values() for call in calls[:-1])

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts[verdict]} {verdict}" for verdict in Verdict)
        return (
            f"{len(self.verdicts)} messages ({counts}), {len(self.arrivals)} arrived, {len(self.lost)} lost, "
            f"{len(self.unexpected)} unexpected, {self.repeats} repeats, {len(self.false_successes)} false successes"
        )


def compare(lines: Iterable[Line], dead: Collection[str] = ()) -> Comparison:
    """Hold what the servers promised against what the target received.

    Lines of the kinds `put`, `inner` and `outer` come from `tests.support.wsgi_recorder`, `client` from the sender of
    the request, `arrival` and `answer` from the target, `locked` (with `since`) from the process that kept the store
    from being written; others are ignored.

    :param dead: message ids of dead letters, which are not lost.
    """
    puts: dict[str, Line] = {}
    inner: dict[str, Line] = {}
    outer: dict[str, Line] = {}
    clients: dict[str, Line] = {}
    arrivals: dict[str, list[Arrival]] = defaultdict(list)
    delivered: set[str] = set()
    locked: list[Line] = []
    for line in lines:
        match line["kind"]:
            case "put":
                puts[line["message"]] = line
            case "inner":
                assert line["request"] not in inner or line["request"] == "unnamed", f"two called {line['request']}"
                inner[line["request"]] = line
            case "outer":
                outer[line["request"]] = line
            case "client":
                clients[line["request"]] = line
            case "locked":
                locked.append(line)
            case "arrival":
                arrivals[line["id"]].append(Arrival(line["id"], line["attempt"], float(line["at"]), line["well"]))
            case "answer":
                if line["well"]:
                    delivered.add(line["id"])
    verdicts = {
        message: _verdict_of_message(put, inner.get(put["request"]), outer.get(put["request"]), locked)
        for message, put in puts.items()
    }
    told = {request for request, client in clients.items() if client["whole"] and client["status"] < 400}
    for message, put in puts.items():
        # What a client has read to its end is in no doubt any more.
        if verdicts[message] is Verdict.DOUBT and put["on"] != "failure" and put["request"] in told:
            verdicts[message] = Verdict.COMMIT
    return Comparison(
        verdicts=verdicts,
        arrivals=dict(arrivals),
        lost=[
            message
            for message, verdict in verdicts.items()
            if verdict is Verdict.COMMIT and message not in delivered and message not in dead
        ],
        unexpected=[message for message in arrivals if verdicts.get(message, Verdict.ABORT) is Verdict.ABORT],
        repeated=[message for message, calls in arrivals.items() if any(call.well for call in calls[:-1])],
        false_successes=[
            message
            for message, put in puts.items()
            if put["on"] == "success" and verdicts[message] is Verdict.ABORT and put["request"] in told and put["kept"]
        ],
        attempts_fell=[
            message
            for message, calls in arrivals.items()
            if any(later.attempt <= earlier.attempt for earlier, later in pairwise(calls))
        ],
    )


def _verdict_of_message(put: Line, inner: Line | None, outer: Line | None, locked: list[Line]) -> Verdict:
    if not put["kept"]:
        return Verdict.ABORT
    if inner is None:
        # It was killed before its own end: nothing can have followed a success that never was.
        return Verdict.ABORT if put["on"] == "success" else Verdict.DOUBT
    if put["on"] not in (_FOLLOWED_BY[inner["verdict"]], "always"):
        return Verdict.ABORT
    if outer is None:
        return Verdict.DOUBT
    if inner["verdict"] == Verdict.ABORT:
        # A failed request is answered as it would be without messages: that the store was away only the log tells.
        away = any(lock["since"] <= outer["at"] and inner["at"] <= lock["at"] for lock in locked)
        return Verdict.DOUBT if away else Verdict.COMMIT
    if outer["end"] == "whole" and outer["status"] == inner["status"]:
        return Verdict.COMMIT
    return Verdict.DOUBT if outer["unknown"] else Verdict.ABORT


_FOLLOWED_BY = {Verdict.COMMIT: "success", Verdict.ABORT: "failure"}

"""The dispatcher's log in JSON, read while it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: A queue's name → its label on the screen.
QUEUES = {"queue.mail.confirm": "mail", "queue.search.reindex": "search", "queue.127.0.0.1": "warehouse"}


@dataclass
class Tally:
    """The outcomes of one queue's messages. `retried` counts failed attempts that were retried."""

    delivered: int = 0
    retried: int = 0
    dead: int = 0


class Journal:
    """Reads new lines of the log, counts outcomes, and describes the notable ones."""

    def __init__(self, log: Path) -> None:
        self.tallies = {name: Tally() for name in QUEUES.values()}
        self._log = log
        self._read_to = 0

    def news(self) -> Iterator[tuple[str, str]]:
        """Yield the new events since the last call: a text and its colour."""
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            for line in log:
                if not line.endswith(b"\n"):
                    # Not written completely yet.
                    return
                self._read_to += len(line)
                if line.startswith(b"{"):
                    yield from self._told(json.loads(line))

    def _told(self, entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
        event = entry["event"]
        name = QUEUES.get(entry.get("queue", ""))
        if event in ("held", "released", "left_out"):
            yield entry["text"], "yellow" if event != "released" else "green"
        elif name is not None and event == "dead":
            self.tallies[name].dead += 1
            yield f"{name}: given up, a dead letter ({entry['why']} {entry['status']})", "red"
        elif name is not None and event == "call":
            outcome = entry["text"].partition(": message ")[0]
            tally, what = self.tallies[name], f"{name}: {outcome}, attempt {entry['attempt']}"
            if outcome.startswith("delivered"):
                tally.delivered += 1
                yield what, "green"
            elif not outcome.startswith("given up"):
                tally.retried += 1
                yield f"{what}; it will be retried", "yellow"

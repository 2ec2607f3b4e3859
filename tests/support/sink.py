"""Sinks: what the outbox needs of a store, and nothing more. One in memory, one in a file that processes share."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from ap4r.errors import StoreUnavailable
from ap4r.message.message import Message, Put
from ap4r.storage.store import StoreStatus
from tests.support.lines import whole_lines


class MemorySink:
    """Keeps puts in a list, in the order in which they came. `error` is raised in their stead while it is set.

    With `stores_all_the_same` a put that raises is kept, as when the answer to a COMMIT is lost.
    """

    name = "memory"

    def __init__(self) -> None:
        self.puts: list[Put] = []
        self.calls = 0
        self.error: BaseException | None = None
        self.stores_all_the_same = False
        self.addresses: list[str] = []
        self.figures = StoreStatus()
        self.looks = 0
        self.before_put: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    @property
    def messages(self) -> list[Message]:
        """All messages that are stored."""
        return [message for put in self.puts for message in put.messages]

    @property
    def paths(self) -> list[str]:
        """Where the stored messages go."""
        return [message.target.url for message in self.messages]

    def put(self, put: Put) -> None:
        """Keep a put; a repeat changes nothing."""
        self.before_put()
        with self._lock:
            self.calls += 1
            is_new = put.id not in [known.id for known in self.puts]
            if is_new and (self.error is None or self.stores_all_the_same):
                self.puts.append(put)
            if self.error is not None:
                raise self.error

    def bells(self) -> list[str]:
        """Return the doorbells that a test has hung up."""
        return self.addresses

    def status(self) -> StoreStatus:
        """Return the figures that a test has set."""
        self.looks += 1
        return self.figures


class FileSink:
    """Appends puts to a file, one line each. While a file of the same name with .away exists, it fails.

    It is opened again for each put, so a fork shares nothing.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._away = Path(f"{path}.away")

    def put(self, put: Put) -> None:
        """Append a put, or raise; the text of the .away file says whether the outcome is unknown."""
        if self._away.exists():
            raise StoreUnavailable("file", "taken away", outcome_unknown=self._away.read_text() == "unknown")
        told = [{"path": message.target.url, **dict(parse_qsl(message.body.decode()))} for message in put.messages]
        line = json.dumps({"pid": os.getpid(), "put": put.id, "messages": told}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def take_away(self, *, outcome_unknown: bool = False) -> None:
        """Fail every put until `bring_back()`."""
        self._away.write_text("unknown" if outcome_unknown else "known")

    def bring_back(self) -> None:
        """Accept puts again."""
        self._away.unlink(missing_ok=True)

    @property
    def puts(self) -> list[dict[str, Any]]:
        """Everything that was put, by any process."""
        return [json.loads(line) for line in whole_lines(self._path)]

    def stored(self, request: str) -> list[str]:
        """Return the paths of a request's messages."""
        return [one["path"] for put in self.puts for one in put["messages"] if one["request"] == request]


def unavailable(*, outcome_unknown: bool = False) -> StoreUnavailable:
    """Create the error of a store that cannot be used now."""
    return StoreUnavailable("memory", "a test took it away", outcome_unknown=outcome_unknown)

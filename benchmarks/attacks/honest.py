"""Honest load: a constant rate of puts, by turns through the web application and through the intake.

Latency is from the moment at which a put was due (so a put that had to wait for others counts as late) to the arrival
of its message at the action. Both are of the machine's monotonic clock.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attacks.application import ACTION
from tests.support.processes import HOST

_THREADS = 32
_PUT_SECONDS = 30.0


@dataclass(slots=True)
class Put:
    """One put. `outcome` is the status of its answer, or the name of what went wrong."""

    number: int
    due_at: float
    through: str
    outcome: str = "unanswered"


@dataclass
class HonestLoad:
    """The load; it runs in threads from `start` to `stop`."""

    web_port: int
    listen_port: int
    token: str
    per_second: float
    arrivals: Path
    puts: list[Put] = field(default_factory=list)

    def start(self) -> None:
        """Begin."""
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS)
        self._clock = threading.Thread(target=self._keep_on, daemon=True)
        self._clock.start()

    def stop(self) -> None:
        """Put no more, and wait for the puts that are being made."""
        self._over.set()
        self._clock.join()
        self._pool.shutdown()

    def stored(self) -> list[Put]:
        """List the puts that were answered with success."""
        return [put for put in self.puts if put.outcome.startswith("2")]

    def arrived(self) -> dict[int, list[float]]:
        """Return when each message arrived, by its number; a message that came twice has two."""
        found: dict[int, list[float]] = {}
        for line in self.arrivals.read_text().splitlines():
            number, at = line.split()
            found.setdefault(int(number), []).append(float(at))
        return found

    def missing(self) -> int:
        """Count the messages that were stored and have not arrived."""
        arrived = self.arrived()
        return sum(put.number not in arrived for put in self.stored())

    def _keep_on(self) -> None:
        began_at = time.monotonic()
        # Numbers are of honest puts only from 1 on; attackers say 0.
        for number in range(1, 1 << 62):
            due_at = began_at + number / self.per_second
            if self._over.wait(max(0.0, due_at - time.monotonic())):
                return
            put = Put(number, due_at, "web" if number % 2 else "intake")
            self.puts.append(put)
            self._pool.submit(self._make, put)

    def _make(self, put: Put) -> None:
        connection = http.client.HTTPConnection(
            HOST, self.web_port if put.through == "web" else self.listen_port, timeout=_PUT_SECONDS
        )
        try:
            if put.through == "web":
                connection.request("POST", f"/put?number={put.number}", b"", {"Connection": "close"})
            else:
                message = json.dumps({"target": ACTION, "json": {"number": put.number}})
                head = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
                connection.request("POST", "/messages", message, head)
            put.outcome = str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            put.outcome = type(error).__name__
        finally:
            connection.close()

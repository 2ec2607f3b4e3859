"""Clients that send many requests to a web server at once, and record each response."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from tests.support.client import Asked, ask
from tests.support.ledger import LedgerFile


@dataclass(frozen=True, slots=True)
class Wish:
    """One request to make. `name` is its name in the ledger."""

    name: str
    how: str = "one_chunk"
    on: str = "success"
    messages: int = 1
    answer: str = "200"
    size: int = 0
    delivery: str = "repeated"
    method: str = "GET"
    leave_after: int | None = None

    @property
    def path(self) -> str:
        """The path and query that ask for it."""
        query = {
            "request": self.name,
            "how": self.how,
            "on": self.on,
            "messages": self.messages,
            "answer": self.answer,
            "size": self.size,
            "delivery": self.delivery,
        }
        return f"/do?{urlencode(query)}"


@dataclass
class Load:
    """Threads that make wishes of one iterable until it ends or the load is stopped."""

    port: int
    ledger: LedgerFile
    threads: int = 8
    asked: list[tuple[Wish, Asked]] = field(default_factory=list)

    def run(self, wishes: Iterable[Wish], before: Callable[[Wish], None] = lambda wish: None) -> None:
        """Send all the wishes, and return when each was answered or failed."""
        self.start(wishes, before)
        self.join()

    def start(self, wishes: Iterable[Wish], before: Callable[[Wish], None] = lambda wish: None) -> None:
        """Begin to make wishes; `before` is called with each, in the thread that makes it."""
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []
        shared = iter(wishes)
        self._running = [
            threading.Thread(target=self._make, args=(shared, before), daemon=True) for _ in range(self.threads)
        ]
        for thread in self._running:
            thread.start()

    def stop(self) -> None:
        """Send no more wishes, and wait for those in flight."""
        self._stopping.set()
        self.join()

    def join(self) -> None:
        """Wait for the end of all the wishes.

        :raises BaseException: what went wrong in a client itself.
        """
        for thread in self._running:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _make(self, shared: Iterator[Wish], before: Callable[[Wish], None]) -> None:
        try:
            while not self._stopping.is_set():
                with self._lock:
                    wish = next(shared, None)
                if wish is None:
                    return
                before(wish)
                asked = ask(self.port, wish.path, method=wish.method, leave_after=wish.leave_after)
                with self._lock:
                    self.asked.append((wish, asked))
                    self.ledger.write("client", request=wish.name, status=asked.status, whole=asked.whole)
        except BaseException as error:  # noqa: BLE001 - told by join
            self._failures.append(error)


def without_end(*wishes: Wish) -> Iterator[Wish]:
    """Yield these wishes without end, each time under a new name, which begins with the wish's own."""
    for number, wish in zip(itertools.count(), itertools.cycle(wishes), strict=False):
        yield replace(wish, name=f"{wish.name}{number}-{wish.how}")

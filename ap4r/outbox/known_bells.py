"""The doorbells of dispatchers on the application's own database: read over its connection, rung after its commit.

A lost bell costs latency, never a message, so ringing never raises and never waits.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Hashable, Sequence

from ap4r.outbox.bell_address import send_datagram
from ap4r.outbox.doorbell import ADDRESSES_KEPT_SECONDS, COALESCED_SECONDS, NOBODY_KEPT_SECONDS

_log = logging.getLogger("ap4r.outbox")


class KnownBells:
    """The addresses of one database, kept for 30 s."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        choose: Callable[[Sequence[str]], str] = random.choice,
        send: Callable[[str], None] = send_datagram,
    ) -> None:
        self._clock, self._choose, self._send = clock, choose, send
        self._addresses: tuple[str, ...] = ()
        self._read_at: float | None = None
        self._rung_at: float | None = None

    @property
    def is_due(self) -> bool:
        """Tell whether it is time to read the addresses."""
        kept_seconds = ADDRESSES_KEPT_SECONDS if self._addresses else NOBODY_KEPT_SECONDS
        return self._read_at is None or self._clock() - self._read_at >= kept_seconds

    def learn(self, addresses: Sequence[str]) -> None:
        """Take what was read just now."""
        self._addresses, self._read_at = tuple(addresses), self._clock()

    def ring(self) -> None:
        """Tell one dispatcher, at random, that something was stored."""
        now, addresses = self._clock(), self._addresses
        if not addresses or (self._rung_at is not None and now - self._rung_at < COALESCED_SECONDS):
            return
        self._rung_at = now
        try:
            self._send(self._choose(addresses))
        except Exception as error:  # noqa: BLE001 - whatever it is, the messages are stored
            _log.debug("no bell was rung: %s", error)


_bells: dict[tuple[Hashable, str, str | None], KnownBells] = {}


def bells_of(database: Hashable | None, prefix: str, namespace: str | None = None) -> KnownBells | None:
    """Give this process's bells of a database and prefix; None where no dispatcher can be."""
    return None if database is None else _bells.setdefault((database, prefix, namespace), KnownBells())

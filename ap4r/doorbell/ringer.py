"""The writer's side of the doorbell: it notifies a dispatcher of a new message, and never waits for it.

A lost bell costs latency and never a message, so nothing here raises and nothing is retried. The addresses come
from the store, or over the connection of the application's own database.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Hashable, Sequence

from ap4r.doorbell.address import resolve, send_datagram
from ap4r.doorbell.unattended import UnattendedWarning

ADDRESSES_KEPT_SECONDS = 30.0
# Otherwise a dispatcher that was just started would not be rung for half a minute.
EMPTY_KEPT_SECONDS = 5.0
# The dispatcher polls again 10, 50 and 250 ms after a bell, so messages whose bell is skipped are found then.
COALESCED_SECONDS = 0.002

_log = logging.getLogger("ap4r.outbox")


def in_thread(look: Callable[[], None]) -> None:
    """Run `look` outside of the request that caused it. A process that ends waits for it, because it may still ring."""
    threading.Thread(target=look, name="ap4r-doorbell", daemon=False).start()


class Doorbell:
    """Rings one dispatcher of a store, at random.

    Addresses come from the sink's `bells()` and are cached for 30 s. They are read in a thread, so that the request
    does not wait for them; that thread rings when it is done. A sink without `bells` has no doorbell.
    """

    def __init__(
        self,
        sink: object,
        *,
        clock: Callable[[], float] = time.monotonic,
        choose: Callable[[Sequence[str]], str] = random.choice,
        send: Callable[[str], None] = send_datagram,
        spawn: Callable[[Callable[[], None]], None] = in_thread,
        resolve: Callable[[Sequence[str]], tuple[str, ...]] = resolve,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._choose = choose
        self._send = send
        self._spawn = spawn
        self._resolve = resolve
        self._unattended = UnattendedWarning(sink)
        self._pid = os.getpid()
        self._addresses: tuple[str, ...] = ()
        self._look_at = clock()
        self._rung_at: float | None = None
        self._looking = False

    def ring(self) -> None:
        """Notify a dispatcher that something was stored. Never raises, never waits."""
        if not hasattr(self._sink, "bells"):
            return
        try:
            if self._pid != os.getpid():
                self._reset_after_fork()
            if not self._looking and self._clock() >= self._look_at:
                self._looking = True
                self._look_at = self._clock() + ADDRESSES_KEPT_SECONDS
                try:
                    self._spawn(self._look)
                except Exception:
                    self._looking = False
                    raise
            self._ring_one()
        except Exception as error:  # noqa: BLE001 - for any error, the messages are stored
            _log.debug("no bell was rung: %s", error)

    def _reset_after_fork(self) -> None:
        # In the child of a fork: a look-up that was running in the parent does not exist here.
        self._pid = os.getpid()
        self._look_at = self._clock()
        self._looking = False

    def _ring_one(self) -> None:
        now = self._clock()
        if self._addresses and (self._rung_at is None or now - self._rung_at >= COALESCED_SECONDS):
            self._rung_at = now
            left = list(self._addresses)
            while left:
                address = self._choose(left)
                try:
                    self._send(address)
                    return
                except OSError as error:
                    # The address of another host, or of a dispatcher that ended: another one may work.
                    _log.debug("%s was not rung: %s", address, error)
                    left.remove(address)

    def _look(self) -> None:
        try:
            self._addresses = self._resolve(self._sink.bells())  # type: ignore[attr-defined]
            if self._addresses:
                self._ring_one()
            else:
                self._look_at = self._clock() + EMPTY_KEPT_SECONDS
                self._unattended.look(self._clock())
        except Exception as error:  # noqa: BLE001 - any error costs latency and nothing else
            _log.debug("the doorbells of the dispatchers could not be read: %s", error)
        finally:
            self._looking = False


class KnownBells:
    """The addresses of one database, cached for 30 s."""

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
        """Return whether it is time to read the addresses."""
        kept_seconds = ADDRESSES_KEPT_SECONDS if self._addresses else EMPTY_KEPT_SECONDS
        return self._read_at is None or self._clock() - self._read_at >= kept_seconds

    def learn(self, addresses: Sequence[str]) -> None:
        """Store the addresses that were read just now."""
        self._addresses, self._read_at = tuple(addresses), self._clock()

    def ring(self) -> None:
        """Notify one dispatcher, at random, that something was stored."""
        now, addresses = self._clock(), self._addresses
        if not addresses or (self._rung_at is not None and now - self._rung_at < COALESCED_SECONDS):
            return
        self._rung_at = now
        try:
            self._send(self._choose(addresses))
        except Exception as error:  # noqa: BLE001 - for any error, the messages are stored
            _log.debug("no bell was rung: %s", error)


_bells: dict[tuple[Hashable, str, str | None], KnownBells] = {}


def bells_of(database: Hashable | None, prefix: str, namespace: str | None = None) -> KnownBells | None:
    """Return this process's bells of a database and prefix; None if there can be no dispatcher."""
    return None if database is None else _bells.setdefault((database, prefix, namespace), KnownBells())

"""The writer's side of the doorbell: tell a dispatcher "something new", and never wait for it.

A lost bell costs latency, never a message, so nothing here raises and nothing here is tried again.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from ap4r.outbox.neglect import NeglectWarning

ADDRESSES_KEPT_SECONDS = 30.0
# A dispatcher that was just started would otherwise not be rung for half a minute.
NOBODY_KEPT_SECONDS = 5.0
# The dispatcher looks again 10, 50 and 250 ms after a bell, so what is swallowed in this time is found then.
COALESCED_SECONDS = 0.002
_CONTENT = b"ap4r"

_log = logging.getLogger("ap4r.outbox")


def send_datagram(address: str) -> None:
    """Send one bell to an address such as udp://127.0.0.1:54321, without waiting.

    The host must be an IP address: looking up a name could wait.

    :raises OSError: it could not be sent.
    :raises ValueError: the address is not of that form.
    """
    parts = urlsplit(address)
    if parts.scheme != "udp" or not parts.hostname or not parts.port:
        raise ValueError(f"{address} is not an address of the form udp://host:port")
    family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
    socket.inet_pton(family, parts.hostname)
    # A socket of its own each time: it costs microseconds beside a commit, and no fork can ever share it.
    with socket.socket(family, socket.SOCK_DGRAM) as bell:
        bell.setblocking(False)
        bell.sendto(_CONTENT, (parts.hostname, parts.port))


def in_thread(look: Callable[[], None]) -> None:
    """Run `look` beside the request that asked for it. A process that ends waits for it: it may still ring."""
    threading.Thread(target=look, name="ap4r-doorbell", daemon=False).start()


class Doorbell:
    """Rings one dispatcher of a store, at random.

    Addresses come from the sink's `bells()` and are kept for 30 s. They are looked up beside the request, never
    in its way; the look-up rings when it is done. A sink without `bells` has no doorbell.
    """

    def __init__(
        self,
        sink: object,
        *,
        clock: Callable[[], float] = time.monotonic,
        choose: Callable[[Sequence[str]], str] = random.choice,
        send: Callable[[str], None] = send_datagram,
        spawn: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._choose = choose
        self._send = send
        self._spawn = spawn
        self._neglect = NeglectWarning(sink)
        self._pid = os.getpid()
        self._addresses: tuple[str, ...] = ()
        self._look_at = clock()
        self._rung_at: float | None = None
        self._looking = False

    def ring(self) -> None:
        """Tell a dispatcher that something was stored. Never raises, never waits."""
        if not hasattr(self._sink, "bells"):
            return
        try:
            if self._pid != os.getpid():
                self._begin_anew()
            if not self._looking and self._clock() >= self._look_at:
                self._looking = True
                self._look_at = self._clock() + ADDRESSES_KEPT_SECONDS
                try:
                    self._spawn(self._look)
                except Exception:
                    self._looking = False
                    raise
            self._ring_one()
        except Exception as error:  # noqa: BLE001 - whatever it is, the messages are stored
            _log.debug("no bell was rung: %s", error)

    def _begin_anew(self) -> None:
        # In the child of a fork: a look-up that the parent had under way does not exist here.
        self._pid = os.getpid()
        self._look_at = self._clock()
        self._looking = False

    def _ring_one(self) -> None:
        now = self._clock()
        if self._addresses and (self._rung_at is None or now - self._rung_at >= COALESCED_SECONDS):
            self._rung_at = now
            self._send(self._choose(self._addresses))

    def _look(self) -> None:
        try:
            self._addresses = tuple(self._sink.bells())  # type: ignore[attr-defined]
            if self._addresses:
                self._ring_one()
            else:
                self._look_at = self._clock() + NOBODY_KEPT_SECONDS
                self._neglect.look(self._clock())
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs latency and nothing else
            _log.debug("the doorbells of the dispatchers could not be looked up: %s", error)
        finally:
            self._looking = False

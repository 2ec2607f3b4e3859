"""The message: one call to be made, immutable from the moment it is described.

It does not depend on how a message is stored or delivered.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ap4r.message.target import Target

HTTP = "http"  #: the protocol of a plain call
_VARIANTS = "89ab"  # RFC 9562, section 4.1: a digit with the bits 10 and two random ones


class Delivery(StrEnum):
    """How often a message may be called, and what a failure means."""

    REPEATED = "repeated"  #: at least once; failures back off and end as a dead letter
    ONCE = "once"  #: at most once; a failure or a lost lease makes it a dead letter
    BEST_EFFORT = "best_effort"  #: one try, then forgotten


class Message(NamedTuple):
    """One call to be made. A named tuple, because building it takes a third of the time of a frozen dataclass.

    Durations count from the moment the store accepts the message, by the store's own clock;
    `deliver_at` is an instant in Unix seconds. None leaves a rule to the dispatcher's settings.
    """

    id: str
    queue: str
    target: Target
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    protocol: str = HTTP
    delivery: Delivery = Delivery.REPEATED
    delay_seconds: float = 0.0
    deliver_at: float | None = None
    expires_seconds: float | None = None
    max_deliveries: int | None = None
    timeout_seconds: float | None = None
    trace_id: str | None = None

    @property
    def lane(self) -> tuple[str, str]:
        """The unit that is held, limited and claimed together: the queue and the target's origin."""
        return (self.queue, self.target.origin)

    @property
    def size(self) -> int:
        """The bytes that count towards a request's limit: the target, the headers and the body."""
        return len(self.target.url) + len(self.body) + header_bytes(self.headers)

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that differ if two messages of one id differ in content. The trace is not part of it."""
        rules = (
            *(self.id, self.queue, str(self.target), self.method, self.headers, self.protocol, self.delivery.value),
            *(self.delay_seconds, self.deliver_at, self.expires_seconds, self.max_deliveries, self.timeout_seconds),
        )
        return hashlib.blake2b(repr(rules).encode() + b"\n" + self.body, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Put:
    """Messages that are stored together or not at all. Its id makes a repeat harmless.

    With `each`, every message's own id makes repeats harmless, for longer and in any put: an intake needs this, because
    its callers know messages and not puts.
    """

    id: str
    messages: tuple[Message, ...]
    each: bool = False


def header_bytes(headers: tuple[tuple[str, str], ...]) -> int:
    """Return the number of bytes of the headers' names and values together, in UTF-8."""
    size = 0
    for name, value in headers:
        size += len(name) + (len(value) if value.isascii() else len(value.encode()))
    return size


def new_id(now: float | None = None) -> str:
    """Return a UUIDv7 (RFC 9562, method 3): it sorts by time to a quarter of a microsecond and has 62 random bits.

    :param now: Unix seconds, for tests; None reads the clock of this host.
    """
    nanoseconds = time.time_ns() if now is None else round(now * 1_000_000) * 1_000
    milliseconds, remainder = divmod(nanoseconds, 1_000_000)
    fraction = remainder * 4096 // 1_000_000
    instant, random = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}", os.urandom(8)
    digits = random.hex()
    return f"{instant[:8]}-{instant[8:]}-7{fraction:03x}-{_VARIANTS[random[0] & 3]}{digits[1:4]}-{digits[4:]}"

"""Chooses where a request to the intake is parsed: small and plain ones at once, in the reactor; others in a process.

Parsing a large body, or writing an unusual one in its format, can block Python for seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ap4r.dispatcher.compute.child import NotComputed, Stopping
from ap4r.dispatcher.compute.process_pool import Computing
from ap4r.dispatcher.http_server.intake.json import Intake, RequestRefused
from ap4r.dispatcher.http_server.problem import Refusal, refusal_of
from ap4r.errors import MessageError, TargetRefused
from ap4r.message.message import Message
from ap4r.message.target import Target
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import UpstreamSettings

READING_PROCESSES = 2
READING_SECONDS = 10.0  #: of CPU time, a request
#: The limit for parsing in the reactor: some milliseconds of Python at most.
_MOST_BYTES = 256 * 1024
_MOST_VALUES = 1_000
#: The limit for bodies in other formats and protocols too, which take longer for each byte.
_MOST_ODD_BYTES = 4 * 1024
#: Parsing a number takes time with the square of its digits.
_MOST_DIGITS_BYTES, _LONG_NUMBER = 16 * 1024, re.compile(rb"[0-9]{400}")
_ODD = (b'"format"', b'"protocol"')
_LIMITS = ("max_messages", "max_request_bytes", "max_body_bytes", "max_header_bytes")


class Read(NamedTuple):
    """The messages of a request; whether it was an array of them."""

    messages: list[Message]
    several: bool


class Limits(NamedTuple):
    """The limits for parsing a request, as they are sent to another process."""

    sizes: tuple[int, ...]
    upstreams: tuple[str, ...]


def is_quick(body: bytes) -> bool:
    """Return whether a body is so small and plain that it is parsed in the reactor. Pure, and some microseconds."""
    if len(body) <= _MOST_VALUES:
        # Nearly every body: it has no more values than bytes.
        return b"yaml" not in body and b"\\u007" not in body
    if len(body) > _MOST_BYTES or body.count(b",") + body.count(b"{") + body.count(b"[") > _MOST_VALUES:
        return False
    if len(body) > _MOST_DIGITS_BYTES and _LONG_NUMBER.search(body):
        return False
    # A letter may be written as an escape; it is not worth finding out in which word.
    escaped = b"\\u00" in body
    if b"yaml" in body or (escaped and b"\\u007" in body):
        return False
    return len(body) <= _MOST_ODD_BYTES or not (escaped or any(word in body for word in _ODD))


def read_elsewhere(limits: Limits, body: bytes, key: str | None, traceparent: str | None) -> Read | Refusal:
    """Parse a request; runs in a separate process."""
    try:
        return Read(*_intake_of(limits).read_json(body, key, traceparent))
    except RequestRefused as refused:
        return refused.refusal
    except MessageError as error:
        return refusal_of(error)


@lru_cache(8)
def _intake_of(limits: Limits) -> Intake:
    sizes: dict[str, Any] = dict(zip(_LIMITS, limits.sizes, strict=True))
    upstreams = tuple(UpstreamSettings(name=name) for name in limits.upstreams)
    # Only the dispatcher knows its own addresses.
    return Intake(Settings(**sizes, upstreams=upstreams), lambda target: False)


class IntakeReading:
    """Parses the requests of one intake.

    :param is_self: whether a target is the dispatcher's own address.
    """

    def __init__(self, settings: Settings, is_self: Callable[[Target], bool], computing: Computing) -> None:
        self.intake = Intake(settings, is_self)
        self._is_self = is_self
        self._computing = computing
        self._quick_most = min(settings.max_body_bytes, _MOST_BYTES)
        self._quick = Intake(replace(settings, max_body_bytes=self._quick_most), is_self)
        self._most = settings.max_body_bytes
        names = tuple(one.name for one in settings.upstreams)
        self._limits = Limits(tuple(getattr(settings, name) for name in _LIMITS), names)

    def read_quickly(self, body: bytes, key: str | None, traceparent: str | None) -> Read | None:
        """Parse a small and plain request; return None for every other.

        :raises RequestRefused, MessageError: as `Intake.read_json` does.
        """
        if not is_quick(body):
            return None
        try:
            return Read(*self._quick.read_json(body, key, traceparent))
        except RequestRefused as refused:
            if refused.refusal.error == "too_large" and self._quick_most < self._most:
                return None  # perhaps by our own limit: its result is larger than expected
            raise

    def read(
        self, caller: Hashable, body: bytes, key: str | None, traceparent: str | None, done: Callable[[Any], None]
    ) -> None:
        """Parse any request elsewhere; call `done` with the `Read` result or the `Refusal`.

        :param caller: who sent it: one request of each caller is read at a time.
        """
        call = partial(read_elsewhere, self._limits, body, key, traceparent)
        answer: Deferred[Any] = self._computing.run(caller, call, READING_SECONDS)
        answer.addCallbacks(self._checked, _refusal_of_failure).addCallback(done)

    def _checked(self, read: Read | Refusal) -> Read | Refusal:
        if isinstance(read, Read):
            for index, message in enumerate(read.messages):
                if self._is_self(message.target):
                    error = TargetRefused(
                        str(message.target), "it is the dispatcher's own address, which delivers nothing to itself"
                    )
                    return refusal_of(error, f"[{index}]." if read.several else "")
        return read


def _refusal_of_failure(failure: Failure) -> Refusal:
    error = failure.value
    problem = str(error) if isinstance(error, NotComputed) else repr(error)
    if isinstance(error, Stopping):
        advice = "call another dispatcher's intake, or this one later; nothing was stored"
        return Refusal(503, "stopping", "this dispatcher is stopping", "", advice, 2.0)
    return Refusal(422, "not_encodable", f"the request cannot be read: {problem}", "", "send less at once, and flatter")

"""Chooses where a protocol reads an answer: small ones at once, in the reactor; others in a process with limits.

The server decides the size of an answer, and parsing a megabyte of XML takes Python a large part of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ap4r.dispatcher.compute.process_pool import Computing
from ap4r.message.message import Message
from ap4r.outcome.outcome import Answer, Reason, ResponseReading
from ap4r.protocols.base import CallProtocol, read_answer
from ap4r.protocols.registry import find_protocol

READING_PROCESSES = 2
READING_SECONDS = 5.0  #: of CPU time, an answer
#: Up to this size an answer is read in the reactor: some milliseconds, for any content.
MOST_BYTES = 8 * 1024


def read_elsewhere(message: Message, answer: Answer) -> ResponseReading | None:
    """Read an answer; runs in a separate process."""
    return read_answer(find_protocol(message.protocol), message, answer)


class AnswerReading:
    """Reads the answers to calls of other protocols than HTTP."""

    def __init__(self, computing: Computing) -> None:
        self._computing = computing

    def reader(
        self, protocol: CallProtocol, message: Message
    ) -> Callable[[Answer], ResponseReading | Deferred[ResponseReading | None] | None]:
        """Return what reads the answer to a message, now or later."""
        return partial(self._read, protocol, message)

    def stop(self) -> None:
        """Stop all reading."""
        self._computing.stop()

    def _read(
        self, protocol: CallProtocol, message: Message, answer: Answer
    ) -> ResponseReading | Deferred[ResponseReading | None] | None:
        if len(answer.body) <= MOST_BYTES:
            return read_answer(protocol, message, answer)
        call = partial(read_elsewhere, message, answer)
        read: Deferred[ResponseReading | None] = self._computing.run(message.target.origin, call, READING_SECONDS)
        return read.addErrback(_unread)


def _unread(failure: Failure) -> ResponseReading:
    return ResponseReading(Reason.BAD_RESPONSE, f"the answer cannot be read: {failure.getErrorMessage()}")

"""Let a protocol read an answer, whatever it makes of it."""

from __future__ import annotations

from ap4r.exchange import Answer, Reading, Reason
from ap4r.message import Message
from ap4r.protocols.protocol import CallProtocol


def read_answer(protocol: CallProtocol, message: Message, answer: Answer) -> Reading | None:
    """Give what the protocol reads in a whole answer. Never raises: a protocol that does has read nothing."""
    try:
        reading: object = protocol.judge(answer, message)
    except Exception as error:  # noqa: BLE001 - a package's mistake must not keep a message from its outcome
        reading = Reading(Reason.BAD_RESPONSE, f"protocol {message.protocol} could not read the answer: {error!r}")
    if reading is None or isinstance(reading, Reading):
        return reading
    return Reading(Reason.BAD_RESPONSE, f"protocol {message.protocol} judged with a {type(reading).__name__}")

"""What one call brought back: the target's answer, or what kept it from coming.

It judges nothing; what an exchange means for its message is `ap4r.outcome`'s business.
"""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Why an attempt did not deliver. Stored with the attempt; operators and backoff read the same word."""

    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    NAME_NOT_FOUND = "name_not_found"
    TLS_FAILED = "tls_failed"
    TIMEOUT = "timeout"
    RESET = "reset"
    STATUS = "status"
    SLOW_DOWN = "slow_down"
    BUSY = "busy"
    GONE = "gone"
    REFUSED = "refused"
    NOT_TRUE = "not_true"
    FAULT = "fault"
    CLIENT_FAULT = "client_fault"
    BODY_TOO_LARGE = "body_too_large"
    BAD_RESPONSE = "bad_response"
    NO_SERVER = "no_server"
    BAD_TARGET = "bad_target"
    REFUSED_ADDRESS = "refused_address"
    NOT_ENCODABLE = "not_encodable"
    NO_DESCRIPTION = "no_description"
    BAD_DESCRIPTION = "bad_description"
    CRASH = "crash"
    EXPIRED = "expired"
    GAVE_UP = "gave_up"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


#: Marks the 409 that ap4r itself answers while another call of the same message still runs; its value is 1. A 409
#: without it is the application's own, and a failure.
BUSY_HEADER = "ap4r-busy"

#: Failures in which no byte of the request was written: no call took place, and the target is at fault.
NOT_CALLED = frozenset(
    {Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT, Reason.NAME_NOT_FOUND, Reason.TLS_FAILED, Reason.NO_SERVER}
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a protocol other than HTTP read in a response: None for "it is done", or why it is not, in words too."""

    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole response of a target. Header names are in lower case; `body` is cut to the bytes that are kept.

    A "true" that the original success rule looks for is among them. `reading` is None where the status says it all.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An exchange that brought no whole response. `called` is true from the first byte written.

    `status` is set when the status line had come before the rest failed.
    """

    reason: Reason
    called: bool
    detail: str = ""
    status: int | None = None
    seconds: float = 0.0


Exchange = Answer | Fault


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Read a Retry-After header, seconds or HTTP date (RFC 9110, 10.2.3); None when absent or not understood.

    :param now: Unix seconds. A date that is past gives 0.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        if date.tzinfo is None:
            # The asctime form names no zone; all three forms are in UTC (RFC 9110, 5.6.7).
            date = date.replace(tzinfo=datetime.UTC)
        return max(0.0, date.timestamp() - now)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None

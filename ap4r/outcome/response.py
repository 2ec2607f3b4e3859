"""The result of one call: the target's answer, or why there is none.

It decides nothing; `ap4r.outcome.retry_policy` decides what an exchange means for its message.
"""

from __future__ import annotations

import datetime
import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Why an attempt did not deliver. Stored with the attempt, shown to operators, and used by the back-off."""

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


#: Marks a 409 that ap4r itself answers while another call of the same message still runs; its value is 1. A 409
#: without it is the application's own, and a failure.
BUSY_HEADER = "ap4r-busy"

_MOST_CHARACTERS = 400  #: of a Retry-After that is read
_DELAY = re.compile(
    r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)"
    r"\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)?\s*",
    re.IGNORECASE | re.ASCII,
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}

#: Failures before any byte of the request was written: no call took place, and the target is at fault.
NOT_CALLED = frozenset(
    {Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT, Reason.NAME_NOT_FOUND, Reason.TLS_FAILED, Reason.NO_SERVER}
)

#: Failures after which an answer could not be read to its end. If its status is a success, the work may be done.
UNREADABLE = frozenset({Reason.BAD_RESPONSE, Reason.BODY_TOO_LARGE})


@dataclass(frozen=True, slots=True)
class ResponseReading:
    """What a protocol other than HTTP read in a response: None for success, or the reason of a failure and its text."""

    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole response of a target. Header names are in lower case; `body` is cut to the bytes that are kept.

    A "true" that the original success rule looks for is within them. `reading` is None if the status alone decides.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    reading: ResponseReading | None = None


@dataclass(frozen=True, slots=True)
class NoResponse:
    """An exchange without a whole response. `called` is true from the first byte written.

    `status` is set when the status line had arrived before the rest failed; `body` is the kept part of an answer that
    could not be read although its status is a success.
    """

    reason: Reason
    called: bool
    detail: str = ""
    status: int | None = None
    seconds: float = 0.0
    body: bytes = b""


Exchange = Answer | NoResponse


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Parse a Retry-After header, seconds or HTTP date (RFC 9110, 10.2.3); None when absent or not understood.

    Seconds may have a fraction and a unit after them; they are rounded up. Of several values the longest counts.

    :param now: Unix seconds. A past date is 0.
    """
    if value is None:
        return None
    text = value.strip().strip("\"'").strip()
    if len(text) > _MOST_CHARACTERS:
        return math.inf if text.isascii() and text.isdigit() else None
    seconds = [_seconds(part) for part in text.split(",")]
    numbers = [one for one in seconds if one is not None]
    if len(numbers) == len(seconds):
        return max(numbers)
    date = _date_seconds(text)
    if date is not None:
        return max(0.0, float(math.ceil(date - now)))
    return max(numbers, default=None)


def _seconds(text: str) -> float | None:
    found = _DELAY.fullmatch(text)
    if found is None:
        return None
    seconds = float(found[1]) * (1.0 if found[2] is None else _UNITS[found[2][0].lower()])
    if seconds < 0:
        return None
    # A text with too many digits for a number is long enough.
    return float(math.ceil(seconds)) if math.isfinite(seconds) else seconds


def _date_seconds(text: str) -> float | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
        if date.tzinfo is None:
            # The asctime form has no zone; all three forms are in UTC (RFC 9110, 5.6.7).
            date = date.replace(tzinfo=datetime.UTC)
        return date.timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        pass
    try:
        # The format of APIs that use no other dates (RFC 3339).
        date = datetime.datetime.fromisoformat(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None

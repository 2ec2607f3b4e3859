"""The 503 that replaces a success whose messages could not be stored, and the log line about it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ap4r.errors import Ap4rError

RETRY_AFTER_SECONDS = 5

_log = logging.getLogger("ap4r.middleware")

#: The largest Content-Length up to which the body of a 503 is padded.
MOST_FILLED_BYTES = 1024 * 1024

STATUS = "503 Service Unavailable"
_NOT_STORED = "The messages of this request could not be stored, so none of them will be sent. Please try again."
_UNKNOWN = "The messages of this request may or may not have been stored: the outcome is unknown. Please try again."


def is_unknown(error: Exception) -> bool:
    """Return whether the messages may have been stored all the same. An error that is not ap4r's own leaves it open."""
    return not isinstance(error, Ap4rError) or bool(getattr(error, "outcome_unknown", False))


def refusal(error: Exception) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body of the 503. They do not reveal where the store is; the log does."""
    body = (_UNKNOWN if is_unknown(error) else _NOT_STORED).encode() + b"\n"
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Retry-After", str(RETRY_AFTER_SECONDS)),
        ("Cache-Control", "no-store"),
    ]
    return headers, body


def added_to(
    first: Sequence[tuple[str, str]], headers: list[tuple[str, str]], text: bytes, length: int | None
) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body of a 503 whose headers a server adds to those of the first start.

    The length and type of the first start stay, so the body is cut or padded to that length. The headers that forbid
    caching are sent in any case.

    :param length: the Content-Length of the first start.
    """
    known = {name.lower() for name, _ in first} & {"content-length", "content-type"}
    added = [(name, value) for name, value in headers if name.lower() not in known]
    return added, text if length is None else text[:length].ljust(length, b"\n")


def is_encoded(first: Sequence[tuple[str, str]]) -> bool:
    """Return whether the headers of a first start declare an encoded body; the text of a 503 is not encoded."""
    return any(name.lower() in ("content-encoding", "transfer-encoding") for name, _ in first)


def without_body(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of a 503 without a body."""
    return [(name, "0" if name == "Content-Length" else value) for name, value in headers]


def describe_failure(error: Exception, is_success: bool, has_left: bool, has_length: bool) -> str:
    """Return a log line about what was not stored, and what the client sees of that.

    :param is_success: the request ended well.
    :param has_left: the response has begun to be sent.
    :param has_length: the response has a Content-Length.
    """
    if is_unknown(error):
        told = f"its messages may or may not be stored: {error}"
    else:
        told = f"its messages are not stored: {error}"
    if not is_success:
        return told + "; its response continues, because it does not report success"
    if not has_left:
        return told + "; the client gets 503, or 500 if the server has begun the response"
    if has_length:
        return told + "; its response is cut short"
    return told + "; its connection is closed to end the response, which an HTTP/1.0 client may accept as complete"


def log_failure(method: str, path: str, error: Exception, text: str) -> None:
    """Log what was not stored; with a traceback if the error is not ap4r's own."""
    _log.error("%s %r: %s", method, path, text, exc_info=not isinstance(error, Ap4rError))

"""The answer in place of a success whose messages could not be stored, and the line of log about it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ap4r.errors import Ap4rError

RETRY_AFTER_SECONDS = 5

_log = logging.getLogger("ap4r.middleware")

#: The longest Content-Length that the body of a 503 is filled up to.
MOST_FILLED_BYTES = 1024 * 1024

STATUS = "503 Service Unavailable"
_NOT_STORED = "The messages of this request could not be stored, so none of them will be sent. Please try again."
_UNKNOWN = "The messages of this request may or may not have been stored: the outcome is unknown. Please try again."


def is_unknown(error: Exception) -> bool:
    """Tell whether the messages may have been stored all the same. An error that is not ap4r's own leaves it open."""
    return not isinstance(error, Ap4rError) or bool(getattr(error, "outcome_unknown", False))


def refusal(error: Exception) -> tuple[list[tuple[str, str]], bytes]:
    """Give headers and body of the 503. They tell nothing of where the store is; the log does."""
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

    The length and type that the first start told stay, so the body is cut or filled up to that length. What forbids to
    keep the answer is said in any case.

    :param length: the Content-Length of the first start.
    """
    known = {name.lower() for name, _ in first} & {"content-length", "content-type"}
    added = [(name, value) for name, value in headers if name.lower() not in known]
    return added, text if length is None else text[:length].ljust(length, b"\n")


def is_encoded(first: Sequence[tuple[str, str]]) -> bool:
    """Return whether the headers of a first start tell of a body in an encoding, which the text of a 503 is not in."""
    return any(name.lower() in ("content-encoding", "transfer-encoding") for name, _ in first)


def without_body(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of a 503 that has no body."""
    return [(name, "0" if name == "Content-Length" else value) for name, value in headers]


def describe_failure(error: Exception, is_success: bool, has_left: bool, has_length: bool) -> str:
    """Say in one line of log what is not stored, and what the client sees of it.

    :param is_success: the request had come to a good end.
    :param has_left: the response has begun to leave.
    :param has_length: the response has a Content-Length.
    """
    if is_unknown(error):
        told = f"its messages may or may not be stored: {error}"
    else:
        told = f"its messages are not stored: {error}"
    if not is_success:
        return told + "; its response goes on, as it tells of no success"
    if not has_left:
        return told + "; the client is answered 503, or 500 where the server has begun the response"
    if has_length:
        return told + "; its response ends short"
    return told + "; its response ends with the connection, and over HTTP/1.0 may be taken for whole"


def log_failure(method: str, path: str, error: Exception, text: str) -> None:
    """Log what is not stored; with a traceback where the error is not ap4r's own."""
    _log.error("%s %r: %s", method, path, text, exc_info=not isinstance(error, Ap4rError))

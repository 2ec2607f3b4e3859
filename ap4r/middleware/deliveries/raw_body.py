"""Reads the whole body of a request before the application runs, and gives the application an equal, unread one."""

from __future__ import annotations

from io import BytesIO
from typing import Any

TOO_LARGE = "413 Content Too Large"
BROKEN = "400 Bad Request"
UNKNOWN_LENGTH = "411 Length Required"
_PIECE_BYTES = 64 * 1024


class BodyRefused(Exception):
    """The body cannot be read. `status` is the response's status."""

    def __init__(self, status: str, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def take_body(environ: dict[str, Any], limit: int) -> bytes:
    """Read a request's body and replace it by an equal, unread one; a chunked body gets a Content-Length.

    The application reads exactly the bytes returned, even if the server's own input holds more.

    :raises BodyRefused: it is longer than `limit` bytes, ends before its Content-Length, or has a wrong Content-Length;
        or it is chunked, and the server does not declare that its input ends with the body (wsgi.input_terminated).
    """
    given = environ.get("CONTENT_LENGTH") or ""
    is_chunked = not given and bool(environ.get("wsgi.input_terminated"))
    if given and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise BodyRefused(BROKEN, "Content-Length is not a number")
    length = limit + 1 if is_chunked else int(given or 0)  # neither: no body (RFC 9112, section 6.3)
    if not given and not is_chunked and environ.get("HTTP_TRANSFER_ENCODING"):
        # Reading could block for ever, and the application would read what is there without verification.
        raise BodyRefused(UNKNOWN_LENGTH, "this server does not mark the end of a chunked request's body")
    if length > limit and not is_chunked:
        raise BodyRefused(TOO_LARGE, f"a body of more than {limit:,} bytes (setting max_body_bytes)")
    body = _read(environ["wsgi.input"], length)
    if is_chunked and len(body) > limit:
        raise BodyRefused(TOO_LARGE, f"a body of more than {limit:,} bytes (setting max_body_bytes)")
    if not is_chunked and len(body) < length:
        raise BodyRefused(BROKEN, "the body ended before its Content-Length")
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    # The body is no longer chunked. Both headers together would allow two readings of it (RFC 9112, section 6.3).
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return body


def _read(stream: Any, most: int) -> bytes:
    pieces = []
    left = most
    while left:
        try:
            piece = stream.read(min(left, _PIECE_BYTES))
        except OSError as error:
            raise BodyRefused(BROKEN, f"the body cannot be read: {error}") from error
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)

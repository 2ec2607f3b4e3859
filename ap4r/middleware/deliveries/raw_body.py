"""The whole body of a request, read before the application and given back to it unread."""

from __future__ import annotations

from io import BytesIO
from typing import Any

TOO_LARGE = "413 Content Too Large"
BROKEN = "400 Bad Request"
UNKNOWN_LENGTH = "411 Length Required"
_PIECE_BYTES = 64 * 1024


class BodyRefused(Exception):
    """The body cannot be read. `status` is what to answer."""

    def __init__(self, status: str, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def take_body(environ: dict[str, Any], limit: int) -> bytes:
    """Read a request's body and put an equal one into its place; a chunked one has a Content-Length from then on.

    What is returned is what the application will read, whatever the server's own input has beyond it.

    :raises BodyRefused: it is longer than `limit` bytes, or ends before its Content-Length, or has a wrong one; or it
        is chunked, and the server does not say that its input ends with it.
    """
    given = environ.get("CONTENT_LENGTH") or ""
    is_chunked = not given and bool(environ.get("wsgi.input_terminated"))
    if given and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise BodyRefused(BROKEN, "Content-Length is not a number")
    length = limit + 1 if is_chunked else int(given or 0)  # neither: no body (RFC 9112, section 6.3)
    if not given and not is_chunked and environ.get("HTTP_TRANSFER_ENCODING"):
        # Reading on could wait for ever, and what is there would be read by the application unverified.
        raise BodyRefused(UNKNOWN_LENGTH, "this server does not tell where the body of a chunked request ends")
    if length > limit and not is_chunked:
        raise BodyRefused(TOO_LARGE, f"a body of more than {limit:,} bytes (setting max_body_bytes)")
    body = _read(environ["wsgi.input"], length)
    if is_chunked and len(body) > limit:
        raise BodyRefused(TOO_LARGE, f"a body of more than {limit:,} bytes (setting max_body_bytes)")
    if not is_chunked and len(body) < length:
        raise BodyRefused(BROKEN, "the body ended before its Content-Length")
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    # It is not chunked any more; both together would be two ways to read one body (RFC 9112, section 6.3).
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

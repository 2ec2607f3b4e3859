"""Validates the answer that a handler stores for repeats. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ap4r.describe.headers import TOKEN
from ap4r.errors import OptionRefused, PayloadTooLarge
from ap4r.storage.inbox_record import StoredAnswer

#: Limits of a stored answer, which is written in the handler's own transaction.
BODY_BYTES = 64 * 1024
HEADER_BYTES = 8 * 1024

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: Headers that the middleware or the server sets for every answer (RFC 9110, section 7.6.1).
_FRAMING = frozenset({"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
_BODILESS = (204, 205, 304)


def check_answer(
    status: int, body: bytes | str, headers: Mapping[str, str] | list[tuple[str, str]] | None
) -> StoredAnswer:
    """Validate an answer.

    :raises OptionRefused: a part of it is not valid; the text names the part.
    :raises PayloadTooLarge: its body or headers exceed the limits.
    """
    if type(status) is not int or not 200 <= status <= 599:
        raise OptionRefused("status", status, "a status is a whole number from 200 to 599")
    data = body.encode() if isinstance(body, str) else body
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise OptionRefused("body", type(body).__name__, "a body is bytes or str")
    data = bytes(data)
    if data and status in _BODILESS:
        raise OptionRefused("body", shortened_size(data), f"an answer of {status} has no body")
    if len(data) > BODY_BYTES:
        raise PayloadTooLarge("the body of a stored answer", len(data), BODY_BYTES, "")
    given = list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())
    kept = tuple(_header(pair) for pair in given)
    size = sum(len(name) + len(value) for name, value in kept)
    if size > HEADER_BYTES:
        raise PayloadTooLarge("the headers of a stored answer", size, HEADER_BYTES, "")
    return StoredAnswer(status, tuple(pair for pair in kept if pair[0].lower() != "content-length"), data)


def shortened_size(data: bytes) -> str:
    """Return the size as text, for an error."""
    return f"{len(data):,} bytes"


def _header(pair: object) -> tuple[str, str]:
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise OptionRefused("headers", type(pair).__name__, "headers are a mapping or pairs of strings")
    name, value = pair
    if not TOKEN.fullmatch(name):
        raise OptionRefused("headers", name, "a header's name consists of letters, digits and -")
    if name.lower() in _FRAMING and name.lower() != "content-length":
        raise OptionRefused("headers", name, "the server sets this header of the connection; remove it")
    if not _VALUE.fullmatch(value):
        raise OptionRefused("headers", name, "its value has a line break, or a character not allowed in a header")
    return name, value

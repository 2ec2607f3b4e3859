"""The start of a response, as the application gave it, and what it says about the body. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from wsgiref.util import is_hop_by_hop

from ap4r.describe.headers import TOKEN
from ap4r.middleware.response.body import BufferedBody

#: What a server gives an application to begin its response with (PEP 3333).
ServerStart = Callable[..., Callable[[bytes], object]]

# PEP 3333 allows Latin-1, and some servers take ASCII only.
_STATUS = re.compile(r"[1-5]\d\d [\t\x20-\x7e]*")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


_USUAL_CODES = {str(code): code for code in range(100, 600)}


class _Unread:
    """Stands for what was not looked for yet: of most responses nobody asks."""


_UNREAD = _Unread()


class Start:
    """Status and headers of a response to a request of some method. Of most nothing is asked, so little is computed."""

    __slots__ = ("_content_length", "_method", "exc_info", "headers", "status")

    def __init__(self, status: Any, headers: Any, method: str, exc_info: Any = None) -> None:
        self.status: str = status
        self.headers: Sequence[tuple[str, str]] = headers
        self.exc_info = exc_info
        self._method = method
        self._content_length: int | _Unread | None = _UNREAD

    @property
    def code(self) -> int | None:
        """The status as a number; None when it begins with none."""
        status = self.status
        code = _USUAL_CODES.get(status[:3]) if type(status) is str else None
        return _code(status) if code is None else code

    @property
    def bodiless(self) -> bool:
        """Whether the response is whole without any body (RFC 9110, section 6.4.1): to HEAD; 1xx, 204, 304."""
        code = self.code
        return self._method == "HEAD" or (code is not None and (code < 200 or code == 204 or code == 304))

    @property
    def content_length(self) -> int | None:
        """The length that the headers tell; None when they tell none."""
        if isinstance(self._content_length, _Unread):
            self._content_length = _content_length(self.headers)
        return self._content_length

    def is_plain(self) -> bool:
        """Tell whether every server takes this start; an odd one is some server's to refuse."""
        if self.code is None or not _STATUS.fullmatch(self.status) or type(self.headers) is not list:
            return False
        for header in self.headers:
            if type(header) is not tuple or len(header) != 2 or not _is_plain(*header):
                return False
        return True


def _code(status: object) -> int | None:
    return _number(status[:3]) if isinstance(status, str) else None


def _is_plain(name: object, value: object) -> bool:
    if type(name) is not str or type(value) is not str or not _is_plain_name(name):
        return False
    if len(name) == 14 and name.lower() == "content-length":
        return _number(value) is not None
    return (value.isascii() and value.isprintable()) or _VALUE.fullmatch(value) is not None


@lru_cache(maxsize=1_024)  # most applications have a few names
def _is_plain_name(name: str) -> bool:
    return TOKEN.fullmatch(name) is not None and not is_hop_by_hop(name) and name.lower() != "status"


def _content_length(headers: Any) -> int | None:
    try:
        for name, value in headers:
            if len(name) == 14 and name.lower() == "content-length":
                return _number(value)
    except (TypeError, ValueError, AttributeError):
        # Not a list of pairs of strings. The server that is given it will say so better.
        pass
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


_NOT_LATIN_1 = re.compile("[^\\x00-\\xff]")


def is_surely_sendable(start: Start, result: object, body: BufferedBody | None) -> bool:
    """Tell whether every server takes this start; an odd one is some server's to refuse.

    :param result: what the application returned, None while it runs.
    :param body: the chunks that were taken in, if there are any.
    :raises ValueError: no server can send the response, as far as it is at hand; says what is wrong (PEP 3333).
    """
    chunks = result if type(result) is list or type(result) is tuple else ()
    for chunk in chunks if body is None else (*chunks, *body.ready, *body.held):
        if not isinstance(chunk, bytes):
            kind = type(chunk).__name__
            raise ValueError(f"a chunk of the response's body is of type {kind}; servers send bytes (PEP 3333)")
    if start.is_plain():
        return True
    texts: list[tuple[str, object]] = [("status", start.status)]
    for header in start.headers:
        if type(header) is tuple and len(header) == 2:
            texts += [("name of a header", header[0]), (f"header {header[0]!r}", header[1])]
    for what, text in texts:
        if isinstance(text, str) and _NOT_LATIN_1.search(text):
            raise ValueError(f"the {what} of the response has a character outside Latin-1 (PEP 3333)")
    return False

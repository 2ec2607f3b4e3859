"""The start of a response as the application passed it: what it implies for the body, and whether a server can send it.

Most servers find out only when they write a response whether they can send it, and by then its messages are stored.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from wsgiref.util import is_hop_by_hop

from ap4r.describe.headers import TOKEN
from ap4r.middleware.response.body import BufferedBody
from ap4r.middleware.response.known_servers import is_served_by

#: The callable with which an application starts its response (PEP 3333).
ServerStart = Callable[..., Callable[[bytes], object]]

# PEP 3333 allows Latin-1, but some servers accept only ASCII.
_STATUS = re.compile(r"[1-5]\d\d [\t\x20-\x7e]*")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


_USUAL_CODES = {str(code): code for code in range(100, 600)}


class _NotComputed:
    """Represents a value that was not computed yet; most responses never need it."""


_NOT_COMPUTED = _NotComputed()


class Start:
    """Status and headers of a response to a request of some method. Values are computed when they are first used."""

    __slots__ = ("_content_length", "_method", "exc_info", "headers", "status")

    def __init__(self, status: Any, headers: Any, method: str, exc_info: Any = None) -> None:
        self.status: str = status
        self.headers: Sequence[tuple[str, str]] = headers
        self.exc_info = exc_info
        self._method = method
        self._content_length: int | _NotComputed | None = _NOT_COMPUTED

    @property
    def code(self) -> int | None:
        """The status as a number; None unless it is a str of a number, alone or before a blank (PEP 3333)."""
        status = self.status
        if type(status) is str and (status[3:4] == " " or len(status) == 3):
            code = _USUAL_CODES.get(status[:3])
            if code is not None:
                return code
        return _code(status)

    @property
    def bodiless(self) -> bool:
        """Whether the response is complete without a body (RFC 9110, section 6.4.1): to HEAD; 1xx, 204, 304."""
        code = self.code
        return self._method == "HEAD" or (code is not None and (code < 200 or code == 204 or code == 304))

    @property
    def content_length(self) -> int | None:
        """The length that the headers state; None if they state none."""
        if isinstance(self._content_length, _NotComputed):
            self._content_length = _content_length(self.headers)
        return self._content_length

    def problem(self) -> str:
        """Return what makes headers malformed by PEP 3333, or useless by HTTP; "" where nothing does.

        Every server refuses what is no list of pairs. Control characters are no fault here: some servers send them.
        """
        lengths = set()
        for header in self.headers if type(self.headers) is list else ():
            if not isinstance(header, tuple | list) or len(header) != 2:
                continue
            name, value = header
            if not isinstance(name, str):
                return f"the name of the header {name!r} is no str"
            if not isinstance(value, str):
                return f"the header {name!r} is of type {type(value).__name__}, not str"
            if not TOKEN.fullmatch(name):
                return f"{name!r} is no name of a header"
            if name.lower() == "content-length":
                lengths.add(_number(value))
                if None in lengths or len(lengths) > 1:
                    return f"the header {name!r} is no one number of bytes"
        return ""

    def is_plain(self) -> bool:
        """Return whether every server accepts this start; some server may refuse an unusual one."""
        if self.code is None or not _STATUS.fullmatch(self.status) or type(self.headers) is not list:
            return False
        has_length = False
        for header in self.headers:
            if type(header) is not tuple or len(header) != 2 or not _is_plain(*header):
                return False
            if len(header[0]) == 14 and header[0].lower() == "content-length":
                if has_length:
                    return False
                has_length = True
        return True


def _code(status: object) -> int | None:
    if not isinstance(status, str) or len(status) < 3 or status[3:4] not in ("", " "):
        return None
    number = _number(status[:3])
    return None if number is not None and number < 100 else number


def _is_plain(name: object, value: object) -> bool:
    if type(name) is not str or type(value) is not str or not _is_plain_name(name):
        return False
    if len(name) == 14 and name.lower() == "content-length":
        return _number(value) is not None
    return (value.isascii() and value.isprintable()) or _VALUE.fullmatch(value) is not None


@lru_cache(maxsize=1_024)  # most applications use a few names
def _is_plain_name(name: str) -> bool:
    return TOKEN.fullmatch(name) is not None and not is_hop_by_hop(name) and name.lower() != "status"


def _content_length(headers: Any) -> int | None:
    try:
        for name, value in headers:
            if len(name) == 14 and name.lower() == "content-length":
                return _number(value)
    except (TypeError, ValueError, AttributeError):
        # Not a list of pairs of strings. The server that gets it will report that better.
        pass
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


_NOT_LATIN_1 = re.compile("[^\\x00-\\xff]")


def is_surely_sendable(start: Start, result: object, body: BufferedBody | None, *, has_left: bool = False) -> bool:
    """Return whether every server accepts this start; some server may refuse an unusual one.

    :param result: the object that the application returned, None while it runs.
    :param body: the chunks read so far, if there are any.
    :param has_left: the server has sent the start, so it has accepted it.
    :raises ValueError: the server cannot send the response, as far as it is known; the text has the fault (PEP 3333).
    """
    at_hand = result if type(result) is list or type(result) is tuple else ()
    chunks = at_hand if body is None else (*at_hand, *body.ready, *body.held)
    for chunk in chunks:
        if type(chunk) is not bytes:
            kind = type(chunk).__name__
            if not isinstance(chunk, bytes):
                raise ValueError(f"a chunk of the response's body is of type {kind}; servers send bytes (PEP 3333)")
            if is_served_by("wsgiref.handlers"):
                raise ValueError(f"a chunk of the response's body is of type {kind}; wsgiref sends bytes alone")
    _check_length(start, chunks)
    if start.is_plain():
        return True
    if not has_left:
        _check_start(start)
    return False


def _check_length(start: Start, chunks: Sequence[bytes]) -> None:
    """Refuse a body that the server fails for when it is to be sent."""
    if (start.code == 204 or start.code == 304) and any(chunks) and is_served_by("gevent.pywsgi"):
        raise ValueError(f"a response of {start.code} has no body, and gevent sends none")
    if "cheroot" in sys.modules and start.content_length is not None:
        size = sum(map(len, chunks))
        if size > start.content_length and is_served_by("cheroot.wsgi"):
            raise ValueError(f"the response's body is longer than its Content-Length ({size}), and cheroot sends none")


def _check_start(start: Start) -> None:
    texts: list[tuple[str, object]] = [("status", start.status)]
    for header in start.headers:
        if type(header) is tuple and len(header) == 2:
            texts += [("name of a header", header[0]), (f"header {header[0]!r}", header[1])]
    for what, text in texts:
        if isinstance(text, str) and _NOT_LATIN_1.search(text):
            raise ValueError(f"the {what} of the response has a character outside Latin-1 (PEP 3333)")
    problem = start.problem()
    if problem:
        raise ValueError(f"no server may send this response: {problem} (PEP 3333)")

"""The start of a response, as the application gave it, and what it says about the body. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from wsgiref.util import is_hop_by_hop

from ap4r.outbox.headers import TOKEN

_STATUS = re.compile(r"[1-5]\d\d [\t\x20-\x7e\x80-\xff]*")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


_USUAL_CODES = {str(code): code for code in range(100, 600)}


class _Unread:
    """Stands for what was not looked for yet: of most responses nobody asks."""


_UNREAD = _Unread()


class Start:
    """Status and headers of a response.

    `code` is None when the status begins with no number. `bodiless` responses (to HEAD; 1xx, 204, 304) are whole
    without any body (RFC 9110, section 6.4.1).
    """

    __slots__ = ("_content_length", "bodiless", "code", "headers", "status")

    def __init__(self, status: Any, headers: Any, method: str) -> None:
        self.status: str = status
        # The server sees them later than the application gave them, so they must not change in between.
        self.headers: Sequence[tuple[str, str]] = list(headers) if type(headers) is list else headers
        self.code = code = _code(status)
        self.bodiless = method == "HEAD" or (code is not None and (code < 200 or code in (204, 304)))
        self._content_length: int | _Unread | None = _UNREAD

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
        return all(type(header) is tuple and len(header) == 2 and _is_plain(*header) for header in self.headers)


def _code(status: object) -> int | None:
    if not isinstance(status, str):
        return None
    first = status[:3]
    return _USUAL_CODES.get(first) or _number(first)


def _is_plain(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    if not TOKEN.fullmatch(name) or not _VALUE.fullmatch(value) or is_hop_by_hop(name):
        return False
    return name.lower() != "status" and (name.lower() != "content-length" or _number(value) is not None)


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

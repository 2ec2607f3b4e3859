"""The depth of a message: the length of the chain of deliveries that led to it, each asking for the next. Pure.

Without a limit, messages that cause messages would go on for ever without a line in a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

DEPTH = "Ap4r-Depth"  #: the header that carries it; a message that no delivery asked for has none
DEEP = 10  #: from this depth on a queue is reported to feed itself
_MOST_DIGITS = 9
MESSAGE_KEY, _DEPTH_KEY = "HTTP_AP4R_MESSAGE_ID", "HTTP_AP4R_DEPTH"


def depth_within(environ: Mapping[str, Any]) -> int:
    """Return the depth of the messages that a request asks for: 0 unless it is a delivery, or claims to be one.

    A false claim only reduces the number of messages that this request may cause.
    """
    if MESSAGE_KEY not in environ:
        return 0
    return _number(environ.get(_DEPTH_KEY, "")) + 1


def depth_of(headers: Iterable[tuple[str, str]]) -> int:
    """Return the depth of a stored message by its headers."""
    for name, value in headers:
        if name == DEPTH:
            return _number(value)
    return 0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0

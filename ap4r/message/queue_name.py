"""A queue's name: checked if a caller chose it, else built from the words that name the call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from ap4r.errors import OptionRefused

MAX_QUEUE_BYTES = 128
_SEGMENTS = 3
# Numbers, UUIDs and long hex identify one of many things, so they must not create a queue each.
_VARIABLE_SEGMENT = re.compile(
    r"[+-]?\d+(?:\.\d+)?|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{12,}", re.IGNORECASE
)
_NOT_IN_NAME = re.compile(r"[^a-z0-9._-]+")


def check_queue_name(name: object) -> str:
    """Validate a queue name that a caller chose: any printable text of 1 to 128 bytes in UTF-8, no outer spaces.

    :raises OptionRefused: with the reason.
    """
    if not isinstance(name, str):
        raise OptionRefused("queue", name, "a queue's name is a string")
    if not name or name != name.strip() or not name.isprintable():
        raise OptionRefused("queue", name, "a queue's name is printable text without spaces at its ends")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise OptionRefused("queue", name, "a queue's name must be encodable as UTF-8") from error
    if size > MAX_QUEUE_BYTES:
        raise OptionRefused("queue", name, f"{size} bytes are more than a queue's name may have ({MAX_QUEUE_BYTES})")
    return str.__str__(name)  # a str Enum is not written as its value everywhere


def name_queue(words: Sequence[str]) -> str:
    """Build a queue's name from the words that name the call: `queue.search.reindex`."""
    named = [_NOT_IN_NAME.sub("_", word.lower()) for word in words or ["root"]]
    return ".".join(["queue", *named])[:MAX_QUEUE_BYTES]


def queue_of_host(host: str, port: int | None) -> str:
    """Return the queue name of an absolute URL: `queue.example.org`, or with a non-default port `queue.localhost.8080`.

    :param port: None for the default port of the scheme.
    """
    name, end = name_queue([host]), "" if port is None else f".{port}"
    return name[: MAX_QUEUE_BYTES - len(end)] + end


def queue_of_path(path: str) -> str:
    """Build a queue's name from the first segments of a path; a segment that identifies one of many becomes `_`."""
    segments = [unquote(part) for part in path.split("/") if part][:_SEGMENTS]
    return name_queue(["_" if _VARIABLE_SEGMENT.fullmatch(part) else part for part in segments])

"""The inbox's record of a received message, which prevents a second effect of a repeat. Values, and no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

#: A repeat may begin in the last instant and take long to arrive, and the clocks of two hosts may differ.
TOLERANCE_SECONDS = 3_600.0
#: The life of a record whose sender does not state when the last repeat can come.
DEFAULT_SECONDS = 7 * 86_400.0
_EXTENDED_BY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to repeats."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Record:
    """A message in the inbox. `key` is the SHA-256 of sender, id and path, `content` that of the content.

    `expires_at` (Unix seconds) is the first instant at which it may be deleted. `beside` holds the key and the
    content of a second record: see `record_of`.
    """

    key: bytes
    content: bytes
    expires_at: float
    beside: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that was found committed, and the answer that was stored with it."""

    content: bytes
    expires_at: float
    answer: StoredAnswer | None = None


class RecordResult(Enum):
    """The result of writing a record that was not found."""

    FIRST = "first"  #: it is written
    BUSY = "busy"  #: another transaction is writing it, or may be


class Rows(NamedTuple):
    """The result of a statement: how many rows it changed, and the rows it read."""

    changed: int
    rows: Sequence[Sequence[Any]] = ()


#: Runs one statement, whose values are named `:so` in it, on the connection it is bound to.
Run = Callable[[str, Mapping[str, Any]], Rows]


def digest(*parts: str | bytes) -> bytes:
    """Return the SHA-256 of parts, each preceded by its length."""
    whole = hashlib.sha256()
    for part in parts:
        # Text from a WSGI environ may hold any character that a header can.
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.digest()


#: Begins the record of a signed path under the key without a path; no SHA-256 begins with it.
_MARK = bytes(16)


def key_of(sender: str, id: str, path: str) -> bytes:
    """Return the key of a record, unique to the sender, the message and the application's path."""
    return digest(sender, id, path)


def record_of(sender: str, id: str, path: str, content: bytes, expires_at: float, *, is_path_signed: bool) -> Record:
    """Return the record of a delivery.

    If a signature covers the path, the path is part of the key. If none does, anyone could repeat a captured
    delivery under another spelling of the path, so it is not. Such a delivery may also be a captured one without
    its path's signature: so a signed path leaves a mark under the key without a path.
    Earlier versions' records have the path in their keys, signed or not: they are found under `beside`.
    """
    with_path, without = key_of(sender, id, path), key_of(sender, id, "")
    if is_path_signed:
        return Record(with_path, content, expires_at, (without, _MARK + content[: -len(_MARK)]))
    return Record(without, content, expires_at, (with_path, content))


def is_mark(content: bytes) -> bool:
    """Return whether a record's content is the mark of a message that was received with a signed path."""
    return content.startswith(_MARK)


def is_content(found: bytes, content: bytes) -> bool:
    """Return whether what was recorded, or marked, is this content."""
    return found == (_MARK + content[: -len(_MARK)] if is_mark(found) else content)


def expiry(last_repeat_at: float | None, now: float) -> float:
    """Return the instant until which a record must live.

    :param last_repeat_at: Unix seconds, from the sender (Ap4r-Expires); None if it sent none.
    :param now: Unix seconds of this host.
    """
    if last_repeat_at is None:
        return now + DEFAULT_SECONDS
    # A record must not expire at once because the sender's clock is behind.
    return max(last_repeat_at, now) + TOLERANCE_SECONDS


def is_short(found: Stored, until: float) -> bool:
    """Return whether a record's life must be extended. Repeats name nearly the same end as the call before."""
    return found.expires_at < until - _EXTENDED_BY_SECONDS

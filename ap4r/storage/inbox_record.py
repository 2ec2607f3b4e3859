"""What an inbox keeps of a message that was received, so that a repeat has no second effect. Values, and no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

#: A repeat may begin in the last instant, be long on its way, and the clocks of two hosts may disagree.
TOLERANCE_SECONDS = 3_600.0
#: How long a record lives whose sender does not tell when the last repeat can come.
DEFAULT_SECONDS = 7 * 86_400.0
_EXTENDED_BY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a repeat is answered."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Record:
    """A message as the inbox knows it. `key` is of sender, id and path, `content` of what came; both SHA-256.

    `expires_at` (Unix seconds) is the first instant at which it may be forgotten. `beside` are the key and the content
    of a second record: see `record_of`.
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
    """What came of writing a record down, where none was found."""

    FIRST = "first"  #: it is written
    BUSY = "busy"  #: somebody else's transaction is at it, or may be


class Rows(NamedTuple):
    """What a statement brought: how many rows it changed, and those it read."""

    changed: int
    rows: Sequence[Sequence[Any]] = ()


#: Runs one statement, its values named `:so` in it, on whatever connection it belongs to.
Run = Callable[[str, Mapping[str, Any]], Rows]


def digest(*parts: str | bytes) -> bytes:
    """Give the SHA-256 of parts, each told apart from the next."""
    whole = hashlib.sha256()
    for part in parts:
        # Text from a WSGI environ may hold any character that a header can.
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.digest()


#: What the record of a signed path begins with under the key without a path; no SHA-256 will.
_MARK = bytes(16)


def key_of(sender: str, id: str, path: str) -> bytes:
    """Return the key of a record: no other sender's message and no other path of the application shares it."""
    return digest(sender, id, path)


def record_of(sender: str, id: str, path: str, content: bytes, expires_at: float, *, is_path_signed: bool) -> Record:
    """Return the record of a delivery.

    Where a signature covers the path, the path is part of the key. Where none does, anyone may send a captured delivery
    again under another spelling of the path, so it is not. Such a delivery may also be a captured one of which the
    signature of the path was left out: so a signed path leaves a mark under the key without a path.
    Records of a version before this one have the path in their keys, signed or not: `beside` is where they are found.
    """
    with_path, without = key_of(sender, id, path), key_of(sender, id, "")
    if is_path_signed:
        return Record(with_path, content, expires_at, (without, _MARK + content[: -len(_MARK)]))
    return Record(without, content, expires_at, (with_path, content))


def is_mark(content: bytes) -> bool:
    """Return whether the content of a record says that a message with a signed path was received."""
    return content.startswith(_MARK)


def is_content(found: bytes, content: bytes) -> bool:
    """Return whether what was recorded, or marked, is this content."""
    return found == (_MARK + content[: -len(_MARK)] if is_mark(found) else content)


def expiry(last_repeat_at: float | None, now: float) -> float:
    """Give the instant until which a record must live.

    :param last_repeat_at: Unix seconds, as the sender told it (Ap4r-Expires); None when it told nothing.
    :param now: Unix seconds of this host.
    """
    if last_repeat_at is None:
        return now + DEFAULT_SECONDS
    # A sender whose clock is behind must not make a record that is forgotten at once.
    return max(last_repeat_at, now) + TOLERANCE_SECONDS


def is_short(found: Stored, until: float) -> bool:
    """Tell whether a record must be made to live longer. A repeat names nearly the same end as the call before it."""
    return found.expires_at < until - _EXTENDED_BY_SECONDS

"""Messages as rows and back."""

from __future__ import annotations

import json
import uuid
from functools import lru_cache
from typing import Any

from ap4r.message.message import Delivery, Message
from ap4r.message.target import Target
from ap4r.storage.access.transaction import to_microseconds, to_seconds

#: A position is an instant; the position of a replay is lower by this, and so negative.
_FRONT = 2**60
_DELIVERIES = {delivery.value: delivery for delivery in Delivery}
#: Headers and targets up to this size are the same for many messages: their parsed form is cached.
_SHORT_BYTES = 256


def id_bytes(text: str) -> bytes:
    """Return a message's or put's id as the 16 bytes under which it is stored."""
    bare = text.replace("-", "")
    if len(text) == 36 and len(bare) == 32 and bare.isalnum():
        return bytes.fromhex(bare)
    return uuid.UUID(text).bytes


def id_text(stored: bytes) -> str:
    """Return a stored id as its usual text."""
    digits = stored.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def message_row(message: Message, now_at: int) -> dict[str, Any]:
    """Return the row of a message that is stored at `now_at`; its durations become instants of the store's clock."""
    due_at = now_at + to_microseconds(message.delay_seconds) if message.delay_seconds else now_at
    if message.deliver_at is not None:
        due_at = max(due_at, to_microseconds(message.deliver_at))
    expires, headers = message.expires_seconds, message.headers
    return {
        "id": id_bytes(message.id),
        "target": str(message.target).encode(),
        "method": message.method,
        "headers": _usual_headers_text(headers) if _are_usual(headers) else _headers_text(headers),
        "body": message.body,
        "protocol": message.protocol,
        "delivery": message.delivery._value_,  # `value` is a call in Python
        "max_deliveries": message.max_deliveries,
        "timeout_seconds": message.timeout_seconds,
        "trace_id": message.trace_id,
        "stored_at": now_at,
        "first_due_at": due_at,
        "expires_at": None if expires is None else now_at + to_microseconds(expires),
    }


def message_of(
    stored_id: bytes,
    queue: str,
    target: bytes,
    method: str,
    headers: bytes,
    body: bytes,
    protocol: str,
    delivery: str,
    max_deliveries: int | None,
    timeout_seconds: float | None,
    trace_id: str | None,
) -> Message:
    """Build a message from its columns. Instants are left out; the message keeps what a call needs."""
    return Message(
        id=id_text(stored_id),
        queue=queue,
        target=_short_target(target) if len(target) <= _SHORT_BYTES else _target(target),
        method=method,
        headers=_short_headers(headers) if len(headers) <= _SHORT_BYTES else _headers(headers),
        body=body,
        protocol=protocol,
        delivery=_DELIVERIES[delivery],
        max_deliveries=max_deliveries,
        timeout_seconds=timeout_seconds,
        trace_id=trace_id,
    )


def front_position(now_at: int) -> int:
    """Return the position of a replayed message: before all messages that fell due, behind earlier replays."""
    return now_at - _FRONT


def replayed_at(position: int) -> int:
    """Return the instant of a replay from its position."""
    return position + _FRONT


def expires_in_seconds(expires_at: int | None, now_at: int) -> float | None:
    """Return the time until an instant, or None without one."""
    return None if expires_at is None else to_seconds(expires_at - now_at)


def _target(stored: bytes) -> Target:
    return Target.from_text(stored.decode())


def _headers(stored: bytes) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(stored))


def _are_usual(headers: tuple[tuple[str, str], ...]) -> bool:
    """Return whether many messages may have the same headers: no more than a content type."""
    return not headers or (len(headers) == 1 and len(headers[0][1]) < _SHORT_BYTES)


def _headers_text(headers: tuple[tuple[str, str], ...]) -> bytes:
    return json.dumps(headers, ensure_ascii=False, separators=(",", ":")).encode()


_short_target = lru_cache(maxsize=1_024)(_target)
_short_headers = lru_cache(maxsize=1_024)(_headers)
_usual_headers_text = lru_cache(maxsize=1_024)(_headers_text)

"""Messages as rows and back."""

from __future__ import annotations

import json
import uuid
from typing import Any

from sqlalchemy import RowMapping

from ap4r.message import Delivery, Message
from ap4r.storage.sql.transaction import to_microseconds, to_seconds
from ap4r.target import Target

#: Positions are instants; those of replays are so much less, and thereby negative.
_FRONT = 2**60


def id_bytes(text: str) -> bytes:
    """Give a message's or put's id as the 16 bytes under which it is stored."""
    return uuid.UUID(text).bytes


def id_text(stored: bytes) -> str:
    """Give a stored id as its usual text."""
    return str(uuid.UUID(bytes=stored))


def message_row(message: Message, now_at: int) -> dict[str, Any]:
    """Give the row of a message that is stored at `now_at`; its durations become instants of the store's clock."""
    due_at = now_at + to_microseconds(message.delay_seconds)
    if message.deliver_at is not None:
        due_at = max(due_at, to_microseconds(message.deliver_at))
    expires = message.expires_seconds
    return {
        "id": id_bytes(message.id),
        "target": str(message.target).encode(),
        "method": message.method,
        "headers": json.dumps(message.headers, ensure_ascii=False, separators=(",", ":")).encode(),
        "body": message.body,
        "protocol": message.protocol,
        "delivery": message.delivery.value,
        "max_deliveries": message.max_deliveries,
        "timeout_seconds": message.timeout_seconds,
        "trace_id": message.trace_id,
        "stored_at": now_at,
        "first_due_at": due_at,
        "expires_at": None if expires is None else now_at + to_microseconds(expires),
    }


def message_of(values: RowMapping, queue: str) -> Message:
    """Read a message back from its row. Instants stay with the row; the message keeps what a call needs."""
    headers = json.loads(values["headers"]) if values["headers"] != b"[]" else ()
    return Message(
        id=id_text(values["id"]),
        queue=queue,
        target=Target.from_text(values["target"].decode()),
        method=values["method"],
        headers=tuple((name, value) for name, value in headers),
        body=values["body"],
        protocol=values["protocol"],
        delivery=Delivery(values["delivery"]),
        max_deliveries=values["max_deliveries"],
        timeout_seconds=values["timeout_seconds"],
        trace_id=values["trace_id"],
    )


def front_position(now_at: int) -> int:
    """Give the position of what is replayed: before all that fell due by itself, behind earlier replays."""
    return now_at - _FRONT


def replayed_at(position: int) -> int:
    """Give the instant of a replay from its position."""
    return position + _FRONT


def expires_in_seconds(expires_at: int | None, now_at: int) -> float | None:
    """Give what is left until an instant, None where there is none."""
    return None if expires_at is None else to_seconds(expires_at - now_at)

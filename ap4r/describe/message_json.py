"""A message in the JSON that the intake accepts: the fields of `POST /messages`. Pure."""

from __future__ import annotations

import base64
from typing import Any

from ap4r.describe.describe import PRIORITY
from ap4r.message.depth import DEPTH
from ap4r.message.message import HTTP, Message
from ap4r.message.target import APP


def fields_of(message: Message) -> dict[str, Any]:
    """Return the JSON of a described message, from which the intake builds the very same message."""
    target = message.target
    fields: dict[str, Any] = {
        "id": message.id,
        "target": target.url if target.upstream in (None, APP) else {"upstream": target.upstream, "path": target.url},
        "queue": message.queue,
        "method": message.method,
        "delivery": message.delivery.value,
    }
    if message.protocol != HTTP:
        fields["protocol"] = message.protocol  # its body is written already
    headers = dict(message.headers)
    priority = headers.pop(PRIORITY, None)
    depth = headers.pop(DEPTH, None)
    if depth is not None:
        fields["depth"] = int(depth)
    if priority is not None:
        fields["priority"] = int(priority)
    if headers:
        fields["headers"] = headers
    if message.body:
        fields["base64"] = base64.b64encode(message.body).decode("ascii")
    if message.delay_seconds:
        fields["delay_seconds"] = message.delay_seconds
    for name in ("deliver_at", "expires_seconds", "max_deliveries", "timeout_seconds", "trace_id"):
        value = getattr(message, name)
        if value is not None:
            fields[name] = value
    return fields

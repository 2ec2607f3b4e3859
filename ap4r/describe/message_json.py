"""A message in the JSON that the intake accepts: the fields of `POST /messages`. Pure."""

from __future__ import annotations

import base64
from typing import Any

from ap4r.describe.options import OPTIONS
from ap4r.message.message import HTTP, Message
from ap4r.message.target import APP

_CARRIED = [(option.name, option.carried_in) for option in OPTIONS if option.carried_in]
_PLAIN = [*(option.name for option in OPTIONS if option.is_plain), "trace_id"]


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
    for name, header in _CARRIED:
        value = headers.pop(header, None)
        if value is not None:
            fields[name] = int(value)
    if headers:
        fields["headers"] = headers
    if message.body:
        fields["base64"] = base64.b64encode(message.body).decode("ascii")
    for name in _PLAIN:
        value = getattr(message, name)
        if value is not None and (value or name != "delay_seconds"):
            fields[name] = value
    return fields

"""A web application that sends any body that it is asked for: every size and byte, any queue, any header.

`POST /send?queue=…&header=…&size=BYTES&at=INSTANT` sends `body_of_size(size)` to `/work`, at an instant in local
time. A message that is refused is answered 413 with the reason.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from ap4r.errors import PayloadTooLarge
from ap4r.middleware import AP4RMiddleware

#: All byte values, with those that are escaped on the way in long runs.
PATTERN = bytes(range(256)) + b"\x00" * 999 + b"'\"\\" * 333 + b"\xff" * 999


def body_of_size(size: int) -> bytes:
    """Return a body of this size."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def send(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Send the message that the query describes, and answer with the message's id."""
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    try:
        told = environ["ap4r"].async_to(
            "/work",
            body_of_size(int(query.get("size", "1"))),
            queue=query.get("queue"),
            headers={"X-Name": query["header"]} if "header" in query else None,
            deliver_at=_local(float(query["at"])) if "at" in query else None,
        )
        status = "200 OK"
    except PayloadTooLarge as error:
        told, status = str(error), "413 Content Too Large"
    start_response(status, [("Content-Type", "text/plain")])
    return [told.encode()]


def _local(at: float) -> datetime.datetime:
    # As an application has it that thinks in local time: which of two equal hours it is, only `fold` tells.
    return datetime.datetime.fromtimestamp(at).astimezone()


application = AP4RMiddleware(send)

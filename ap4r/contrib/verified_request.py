"""What the adapters for the frameworks share: the verified delivery of a WSGI request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ap4r.outbox.handle import Handle
from ap4r.signing.verified_delivery import ENVIRON_KEY, VerifiedDelivery


def delivery_of(environ: Mapping[str, Any]) -> VerifiedDelivery | None:
    """Return the verified delivery that a request is, else None. No header of a request can create one."""
    handle = environ.get(ENVIRON_KEY)
    return handle.delivery if isinstance(handle, Handle) else None

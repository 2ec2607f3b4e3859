"""A verified delivery, as the receiving application sees it. Pure; `ap4r.middleware` verifies it."""

from __future__ import annotations

from dataclasses import dataclass

#: The environ key of a request's handle.
ENVIRON_KEY = "ap4r"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDelivery:
    """A request whose sender is proved by a signature. Requests without a valid one never get this object.

    `sender` is "ap4r" for our own dispatcher, else the name of the table [senders.NAME]. Together with it, `id` and
    `path` identify one message. `queue`, `attempt` and `expires_at` are None unless `Ap4r-Signature`
    covers them: a Standard Webhooks signature alone covers the id, the time and the body only.
    """

    sender: str
    id: str
    path: str  #: SCRIPT_NAME + PATH_INFO, decoded
    signed_at: int  #: Unix seconds
    body_sha256: bytes
    queue: str | None = None
    attempt: int | None = None
    expires_at: int | None = None  #: the last instant at which an automatic repeat may begin, Unix seconds
    whole_request_signed: bool = False  #: whether `Ap4r-Signature` proved method, path, query and headers too

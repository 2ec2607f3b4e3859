"""The intake's answer to a refused request: what was wrong, where, and what to do, as JSON. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from ap4r.errors import (
    Ap4rError,
    DepthExceeded,
    MessageConflict,
    OptionRefused,
    PayloadNotEncodable,
    PayloadTooLarge,
    StoreUnavailable,
    TargetRefused,
)
from ap4r.redaction import shortened

_STORE_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than success. `where` is a field of the request or a header, "" for the request as a whole.

    `outcome_unknown` is true if the messages may be stored.
    """

    status: int
    error: str
    message: str
    where: str = ""
    advice: str = ""
    retry_after_seconds: float | None = None
    outcome_unknown: bool = False
    allow: str = ""  #: the methods of the path, if the method was wrong

    @property
    def body(self) -> bytes:
        """The JSON of the answer."""
        told = {"error": self.error, "message": self.message, "where": self.where, "advice": self.advice}
        return json.dumps({**told, "outcome_unknown": self.outcome_unknown}).encode() + b"\n"

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        headers = {}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_seconds)))
        if self.allow:
            headers["Allow"] = self.allow
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="ap4r"'
        return headers


def refusal_of(error: Exception, where: str = "") -> Refusal:
    """Return the answer to an error of a description or a store.

    :param where: the path of the message in the request, as `[3].`.
    """
    match error:
        case MessageConflict():
            advice = "the first message stays; send this one under another id"
            return Refusal(422, "id_used_before", str(error), f"{where}id", advice)
        case TargetRefused():
            return Refusal(422, "target_refused", str(error), f"{where}target", "use another target")
        case DepthExceeded():
            return Refusal(422, "too_deep", str(error), f"{where}depth", "make sure that the chain ends")
        case OptionRefused():
            return Refusal(422, "option_refused", str(error), f"{where}{error.option}", "correct this field")
        case PayloadTooLarge():
            advice = f"send less, or raise {error.setting} where the dispatcher runs"
            return Refusal(413, "too_large", str(error), where.rstrip("."), advice)
        case PayloadNotEncodable():
            return Refusal(422, "not_encodable", str(error), f"{where}{error.where}"[:200], error.advice)
        case StoreUnavailable(outcome_unknown=True):
            advice = "the messages may be stored; send them again under the same ids, which changes nothing if they are"
            return Refusal(503, "outcome_unknown", _said(error), "", advice, _STORE_RETRY_SECONDS, True)
        case Ap4rError():
            advice = "nothing was stored; send it again later"
            return Refusal(503, "store_unavailable", _said(error), "", advice, _STORE_RETRY_SECONDS)
        case _:
            advice = "a defect of ap4r; the dispatcher's log has more. Send it again under the same ids"
            return Refusal(500, "unexpected", type(error).__name__, "", advice, None, True)


def _said(error: Exception) -> str:
    # Where the store is and what the database reported is for the operator, not for callers.
    return f"the store cannot be used now ({shortened(type(error).__name__)})"

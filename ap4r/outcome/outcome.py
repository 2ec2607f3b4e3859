"""The outcome of one attempt, as a value, and what the decision needs beside the exchange.

The rules that decide it are in `ap4r.outcome.retry_policy`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ap4r.message.message import Delivery
from ap4r.outcome.backoff import Backoff

# Callers that decide an outcome need the types of an exchange too, so they can import them from here.
from ap4r.outcome.response import NOT_CALLED as NOT_CALLED
from ap4r.outcome.response import Answer as Answer
from ap4r.outcome.response import Exchange as Exchange
from ap4r.outcome.response import NoResponse as NoResponse
from ap4r.outcome.response import Reason as Reason
from ap4r.outcome.response import ResponseReading as ResponseReading


@dataclass(frozen=True, slots=True)
class Failure:
    """What is stored about an attempt that did not deliver."""

    reason: Reason
    status: int | None = None
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target did the work."""

    status: int = 200
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A call was made and did not deliver; call again after `wait_seconds`. `counts`: against max_deliveries."""

    failure: Failure
    wait_seconds: float
    counts: bool


@dataclass(frozen=True, slots=True)
class PutBack:
    """No call was made; the attempt is given back and the message keeps its place."""

    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """Given up and kept as a dead letter. `called` is false when the last attempt never reached the target."""

    reason: Reason
    failure: Failure | None = None
    called: bool = True
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """A best-effort message that did not arrive and is deleted, as agreed."""

    failure: Failure


Outcome = Delivered | RetryLater | PutBack | Dead | Dropped


class History(NamedTuple):
    """The facts about a message that the decision needs, as of the moment the call began (or would begin).

    `attempt` counts that call; `failures` and `crashes` are from before it.
    """

    delivery: Delivery
    attempt: int
    failures: int
    age_seconds: float
    expires_in_seconds: float | None = None
    max_deliveries: int | None = None
    crashes: int = 0
    client_errors_seconds: float = 0.0  #: how long its calls have been answered with client errors


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """The settings that the decision needs."""

    success: str = "2xx"  # "2xx", or "ap4r": status 200 and a body with "true"
    max_deliveries: int = 20
    max_deliveries_client_error: int = 5
    client_error_seconds: float = 900.0
    max_crashes: int = 10
    give_up_after_seconds: float = 259_200.0
    retry_after_cap_seconds: float = 3_600.0
    backoff: Backoff = field(default_factory=Backoff)

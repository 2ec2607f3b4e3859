"""What became of one attempt, as a value; and what a judgement of it needs to know beside the exchange.

The rules that decide it are in `ap4r.outcome.retry_policy`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ap4r.message.message import Delivery
from ap4r.outcome.backoff import Backoff

# Whoever judges needs the words of an exchange too: they are to be had here.
from ap4r.outcome.response import NOT_CALLED as NOT_CALLED
from ap4r.outcome.response import Answer as Answer
from ap4r.outcome.response import Exchange as Exchange
from ap4r.outcome.response import NoResponse as NoResponse
from ap4r.outcome.response import Reason as Reason
from ap4r.outcome.response import ResponseReading as ResponseReading


@dataclass(frozen=True, slots=True)
class Failure:
    """What is written down about an attempt that did not deliver."""

    reason: Reason
    status: int | None = None
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target did it."""

    status: int = 200
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A call was made and did not deliver; call again after `wait_seconds`. `counts` if it costs max_deliveries."""

    failure: Failure
    wait_seconds: float
    counts: bool


@dataclass(frozen=True, slots=True)
class PutBack:
    """No call was made; the attempt is given back and the message waits where it stood."""

    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """Given up and kept for a person. `called` is false when the last attempt never reached the target."""

    reason: Reason
    failure: Failure | None = None
    called: bool = True
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """A best-effort message that did not arrive, forgotten as agreed."""

    failure: Failure


Outcome = Delivered | RetryLater | PutBack | Dead | Dropped


class History(NamedTuple):
    """The facts of a message that a judgement needs, as of the moment the call began (or would begin).

    `attempt` counts that call; `failures` and `crashes` are from before it.
    """

    delivery: Delivery
    attempt: int
    failures: int
    age_seconds: float
    expires_in_seconds: float | None = None
    max_deliveries: int | None = None
    crashes: int = 0
    client_errors_seconds: float = 0.0  #: for how long its calls are known to have been answered with client errors


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """The settings that a judgement needs."""

    success: str = "2xx"  # "2xx", or "ap4r": status 200 and a body with "true"
    max_deliveries: int = 20
    max_deliveries_client_error: int = 5
    client_error_seconds: float = 900.0
    max_crashes: int = 10
    give_up_after_seconds: float = 259_200.0
    retry_after_cap_seconds: float = 3_600.0
    backoff: Backoff = field(default_factory=Backoff)

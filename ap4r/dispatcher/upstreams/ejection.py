"""The effect of an exchange on the server that was called: none, a success, or its ejection.

It updates the upstream, and decides nothing about messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.dispatcher.flow.circuit_breaker import GATEWAY
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.outcome.outcome import NOT_CALLED, DeliveryRules, Exchange, NoResponse, Reason
from ap4r.outcome.retry_policy import slow_down_seconds


@dataclass(frozen=True, slots=True)
class Ejection:
    """The consequence for the call. `seconds` is set if the server has just been ejected for so long."""

    uncalled: bool = False  #: another server may be tried
    seconds: float | None = None
    alone: bool = False  #: its queue was asked for a pause at this server, and there are others that did not ask


NOTHING = Ejection()


def blame(
    upstream: Upstream, server: str, queue: str, exchange: Exchange, rules: DeliveryRules, *,
    now: float, unix_now: float, random: float,
) -> Ejection:  # fmt: skip
    """Record how a call of a queue to a server ended.

    :param now: monotonic seconds.
    :param unix_now: for a Retry-After that is a date.
    """
    if isinstance(exchange, NoResponse) and not exchange.called:
        if exchange.reason not in NOT_CALLED:
            return NOTHING
        return Ejection(uncalled=True, seconds=upstream.refused(server, now, random))
    asked_seconds = slow_down_seconds(exchange, rules, unix_now)
    if asked_seconds is not None:
        upstream.answered(server, now)
        others = upstream.asked_less(queue, server, now, random, asked_seconds)
        return Ejection(alone=others)
    if exchange.status in GATEWAY or (
        isinstance(exchange, NoResponse) and exchange.reason in (Reason.TIMEOUT, Reason.RESET)
    ):
        return Ejection(seconds=upstream.suspected(server, now, random))
    if not isinstance(exchange, NoResponse) or exchange.reason is not Reason.STOPPED:
        upstream.answered(server, now, queue)
    return NOTHING

"""What an exchange says about the server that was called: nothing, well done, or that it is to be left out.

It tells the upstream, and judges no message.
"""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.dispatcher.upstream import Upstream
from ap4r.judgement import slow_down_seconds
from ap4r.outcome import NOT_CALLED, DeliveryRules, Exchange, Fault, Reason

#: What a proxy in front of a server that is gone answers (RFC 9110, 15.6.3 and 15.6.5).
_GATEWAY = frozenset({502, 504})


@dataclass(frozen=True, slots=True)
class Blame:
    """What follows for the call. `seconds` is news: the server is left out for so long."""

    uncalled: bool = False  #: another server may be tried
    seconds: float | None = None
    alone: bool = False  #: the server asked for less, and others are there that did not


NOTHING = Blame()


def blame(
    upstream: Upstream, server: str, exchange: Exchange, rules: DeliveryRules, *,
    now: float, unix_now: float, random: float, probe: bool,
) -> Blame:  # fmt: skip
    """Note how a call of a server ended.

    :param now: monotonic seconds.
    :param unix_now: for a Retry-After that is a date.
    """
    if isinstance(exchange, Fault) and not exchange.called:
        if exchange.reason not in NOT_CALLED:
            return NOTHING
        return Blame(uncalled=True, seconds=upstream.refused(server, now, random))
    if exchange.status == 503:
        asked_seconds = slow_down_seconds(exchange, rules, unix_now) or 0.0
        seconds = upstream.suspected(server, now, random, at_once=True, asked_seconds=asked_seconds)
        # Until it is back its other calls in flight say the same, and the servers that are there are not to blame.
        was_left_out = not probe and upstream.share(server, now) == 0.0 and upstream.has_good(now)
        return Blame(seconds=seconds, alone=seconds is not None or was_left_out)
    if exchange.status in _GATEWAY or (
        isinstance(exchange, Fault) and exchange.reason in (Reason.TIMEOUT, Reason.RESET)
    ):
        return Blame(seconds=upstream.suspected(server, now, random))
    if not isinstance(exchange, Fault) or exchange.reason is not Reason.STOPPED:
        upstream.answered(server, now)
    return NOTHING

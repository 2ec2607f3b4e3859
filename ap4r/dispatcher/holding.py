"""What an exchange means for its origin: held from now on, released, or neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ap4r import events as happened
from ap4r.dispatcher.limit import Limit
from ap4r.judgement import slow_down_seconds
from ap4r.outcome import NOT_CALLED, DeliveryRules, Exchange, Failure, Fault, Reason
from ap4r.subscribers import Events


@dataclass(frozen=True, slots=True)
class Holding:
    """One call's say about its origin.

    :param probe: whether the call tried an origin that was held.
    :param alone: whether one server of several asked for less; then its upstream goes on.
    """

    limit: Limit
    events: Events
    origin: str
    probe: bool
    alone: bool

    def judge(
        self, exchange: Exchange, rules: DeliveryRules, now: float, random: Callable[[], float], unix_now: float
    ) -> bool:
        """Hold or release the origin; true if more may be called than before."""
        origin, failure = self.origin, None
        asked_seconds = None if self.alone else slow_down_seconds(exchange, rules, unix_now)
        if asked_seconds is not None:
            failure = Failure(Reason.SLOW_DOWN, exchange.status, seconds=exchange.seconds)
        elif isinstance(exchange, Fault) and not exchange.called and exchange.reason in NOT_CALLED:
            failure = Failure(exchange.reason, exchange.status, exchange.detail, exchange.seconds)
        if failure is not None:
            seconds = self.limit.hold(origin, now, random(), probe=self.probe, asked_seconds=asked_seconds or 0.0)
            if seconds is not None:
                self.events.emit(happened.TargetHeld(origin, seconds, failure))
        elif self.probe and isinstance(exchange, Fault) and (not exchange.called or exchange.reason is Reason.STOPPED):
            # Neither what was never sent nor what we cut ourselves tells anything about the target.
            self.limit.unproved(origin)
            return True
        elif self.probe and self.limit.release(origin):
            self.events.emit(happened.TargetReleased(origin))
            return True
        return False

"""The effect of an exchange on its server, and on its queue at that server: hold, release, or neither.

A connection is about the server: one that could not be opened holds it. An answer is about its queue at that server:
429, 503 and Retry-After hold the queue there, and other queues continue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ap4r.dispatcher.flow.concurrency import ConcurrencyLimit
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.outcome.outcome import NOT_CALLED, DeliveryRules, Exchange, Failure, NoResponse, Reason
from ap4r.outcome.retry_policy import slow_down_seconds

#: The answers of a proxy whose server is gone (RFC 9110, 15.6.3 and 15.6.5).
GATEWAY = frozenset({502, 504})


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """A call's effect on its server and on its queue there.

    :param probe: whether the call tried a server that was held.
    :param probe_queue: whether it tried a queue that was held at that server.
    :param alone: whether it was called at one of several servers and there are others for its queue.
    """

    limit: ConcurrencyLimit
    events: Events
    origin: str
    queue: str
    probe: bool
    probe_queue: bool
    alone: bool

    def judge(
        self, exchange: Exchange, rules: DeliveryRules, now: float, random: Callable[[], float], unix_now: float
    ) -> bool:
        """Hold or release; return whether more may be called than before."""
        limit, origin, lane = self.limit, self.origin, (self.queue, self.origin)
        if isinstance(exchange, NoResponse) and not exchange.called and exchange.reason in NOT_CALLED:
            why = Failure(exchange.reason, exchange.status, exchange.detail, exchange.seconds)
            seconds = limit.holds.hold(origin, now, random(), why, probe=self.probe)
            if self.probe_queue:
                limit.holds.unproved(lane)
            if seconds is not None:
                self.events.emit(happened.TargetHeld(origin, seconds, why))
            return False
        if isinstance(exchange, NoResponse) and (not exchange.called or exchange.reason is Reason.STOPPED):
            # A call that was never sent, or that we interrupted, shows nothing about the target.
            if self.probe:
                limit.holds.unproved(origin)
            if self.probe_queue:
                limit.holds.unproved(lane)
            return self.probe or self.probe_queue
        more = False
        if self.probe and limit.holds.release(origin):
            self.events.emit(happened.TargetReleased(origin))
            more = True
        asked_seconds = slow_down_seconds(exchange, rules, unix_now)
        if asked_seconds is not None and not self.alone:
            self._hold_queue(exchange, asked_seconds, now, random())
        elif self.probe_queue and limit.holds.release(lane):
            self.events.emit(happened.QueueReleased(self.queue, origin))
            more = True
        if asked_seconds is None:
            self._note_end(exchange, now)
        return more

    def _hold_queue(self, exchange: Exchange, asked_seconds: float, now: float, random: float) -> None:
        limit, origin, queue = self.limit, self.origin, self.queue
        why = Failure(Reason.SLOW_DOWN, exchange.status, seconds=exchange.seconds)
        seconds = limit.holds.hold(
            (queue, origin), now, random, why, probe=self.probe_queue, asked_seconds=asked_seconds
        )
        if seconds is not None:
            self.events.emit(happened.QueueHeld(queue, origin, seconds, why))
        self._tell_cut(limit.cuts.asked_less(origin, queue, limit.calls_to_cut(origin), now), why)

    def _note_end(self, exchange: Exchange, now: float) -> None:
        limit, origin = self.limit, self.origin
        if isinstance(exchange, NoResponse):
            if exchange.reason is not Reason.RESET or exchange.status is not None:
                return
        elif exchange.status not in GATEWAY:
            limit.cuts.answered(origin)
            return
        reason = exchange.reason if isinstance(exchange, NoResponse) else Reason.STATUS
        why = Failure(reason, exchange.status, seconds=exchange.seconds)
        self._tell_cut(limit.cuts.ended(origin, limit.concurrency, now), why)

    def _tell_cut(self, calls: int | None, why: Failure) -> None:
        if calls is not None:
            self.events.emit(happened.TargetCut(self.origin, calls, why))

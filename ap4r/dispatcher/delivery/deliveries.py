"""Delivers claimed messages: each one through limit, balance, HTTP client and retry policy to its settlement.

It reads no store and never blocks; the client calls back when an exchange has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from random import random as chance
from time import time as wall_clock
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure as Defect

from ap4r.dispatcher.delivery.ahead import WAIT_SECONDS, Ahead
from ap4r.dispatcher.delivery.attempt import Attempt
from ap4r.dispatcher.delivery.delivery_settings import DeliverySettings
from ap4r.dispatcher.delivery.misconfiguration_hints import MisconfigurationHints
from ap4r.dispatcher.delivery.rewrite import RewriteFailed
from ap4r.dispatcher.flow.bounded_dict import Remembered
from ap4r.dispatcher.flow.chains import Chains
from ap4r.dispatcher.flow.circuit_breaker import CircuitBreaker
from ap4r.dispatcher.flow.concurrency import CallAdmission
from ap4r.dispatcher.flow.flow_control import FlowControl
from ap4r.dispatcher.http_client.client import HttpClient
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.dispatcher.wsdl.cache import DescriptionCache
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Answer, Delivered, Exchange, History, NoResponse, Outcome, PutBack, Reason, RetryLater
from ap4r.outcome.retry_policy import before_call, is_client_error, judge
from ap4r.storage.store import Lease, Settlement

#: How many messages it remembers to be answered with client errors, and for how long after the last such answer.
#: For a forgotten message the time counts from its next failure, so it is called for longer, never for less.
CLIENT_ERRORS, CLIENT_ERROR_SECONDS = 10_000, 7_200.0


#: Outcomes that may be unsettled beside the calls in flight before no further call begins.
MOST_UNSETTLED = 200


class Settling(Protocol):
    """What writes outcomes to the store."""

    @property
    def kept(self) -> int:
        """How many outcomes it keeps until the store answers."""

    def add(self, settlement: Settlement) -> None:
        """Keep an outcome and write it soon."""


class CallPermission(Protocol):
    """What knows whether this dispatcher may act for its leases."""

    def may_call(self) -> bool:
        """Return whether a call may begin now."""


class DeliveriesListener(Protocol):
    """What deliveries report to their owner."""

    def call_ended(self) -> None:
        """Receive that a call has ended."""

    def origin_released(self) -> None:
        """Receive that an origin, or a queue of it, may be called again."""


class Deliveries:
    """Every message between its claim and its outcome: first those that wait for their call, then those in flight."""

    def __init__(
        self,
        clock: IReactorTime,
        transport: HttpClient,
        events: Events,
        flow: FlowControl,
        upstreams: Mapping[str, Upstream],
        terms: DeliverySettings,
        descriptions: DescriptionCache,
        *,
        settling: Settling,
        permission: CallPermission,
        listener: DeliveriesListener,
        random: Callable[[], float] = chance,
        now: Callable[[], float] = wall_clock,
    ) -> None:
        self.clock = clock
        self.transport = transport
        self.events = events
        self.flow = flow
        self.upstreams = upstreams
        self.terms = terms
        self.descriptions = descriptions
        self.random = random
        self.now = now
        self.may_write = permission.may_call
        self._advice = MisconfigurationHints()
        self.chains = Chains(events)
        self._settling = settling
        self._listener = listener
        self._is_draining = False
        self.taken = 0  #: how many messages were claimed since the start
        self._in_flight: set[Attempt] = set()
        self._waiting: deque[Attempt] = deque()
        self._beginning = False
        self._late: IDelayedCall | None = None
        self._client_errors: Remembered[str, float] = Remembered(CLIENT_ERRORS, CLIENT_ERROR_SECONDS)
        self.ahead = Ahead()

    @property
    def in_flight(self) -> int:
        """The number of messages that are being called."""
        return len(self._in_flight)

    @property
    def held(self) -> int:
        """The number of messages that are here, waiting ones included."""
        return len(self._in_flight) + len(self._waiting)

    def take(self, leases: tuple[Lease, ...], claimed_at: float) -> None:
        """Deliver these messages, each as soon as flow control allows it.

        :param claimed_at: when the claim ended, by the reactor's clock.
        """
        self.taken += len(leases)
        is_stuck = self.flow.is_stuck(self.clock.seconds())
        attempts = [Attempt(self, lease, claimed_at) for lease in leases]
        self._waiting.extend(attempts)
        self.begin_waiting()
        if is_stuck and self._waiting:
            self._begin_beside(attempts)
        if self._waiting and self._late is None:
            self._late = self.clock.callLater(WAIT_SECONDS, self._put_back_late)

    def begin_waiting(self) -> None:
        """Call as many of the waiting messages as the limit allows."""
        if self._beginning:
            # A call that ends at once calls this again; the outer loop continues with the next message.
            return
        self._beginning = True
        try:
            while self._waiting and self.flow.may_begin() and not self._is_full():
                self._begin_or_fail(self._waiting.popleft())
        finally:
            self._beginning = False

    def _begin_beside(self, attempts: list[Attempt]) -> None:
        """Call messages beside those that occupy every call and do not end."""
        for attempt in attempts:
            if self.flow.may_begin_beside(attempt.origin) and attempt in self._waiting and not self._is_full():
                self._waiting.remove(attempt)
                self._begin_or_fail(attempt)

    def _begin_or_fail(self, attempt: Attempt) -> None:
        try:
            self._begin(attempt)
        except Exception:  # noqa: BLE001 - a failure of one message must not affect the others
            self.failed_unexpectedly(attempt)

    def start(self) -> None:
        """Allow calls to begin."""
        self._is_draining = False

    def drain(self) -> None:
        """Begin no further call, and put back the messages that were not called yet."""
        self._is_draining = True
        self.put_back_waiting()

    def put_back_waiting(self) -> None:
        """Put back the messages that were not called yet."""
        while self._waiting:
            self._settling.add(Settlement(self._waiting.popleft().lease, PutBack()))
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def cut_all(self) -> None:
        """End every call whose answer has not arrived; each gets the outcome of an interrupted call."""
        self.put_back_waiting()
        for attempt in list(self._in_flight):
            attempt.cut()

    def _is_full(self) -> bool:
        """Return whether so many calls are not settled that a crash must not repeat one more."""
        return self.in_flight + self._settling.kept >= self.flow.limit.concurrency + MOST_UNSETTLED

    def _put_back_late(self) -> None:
        self._late = None
        before = self.clock.seconds() - WAIT_SECONDS
        while self._waiting and self._waiting[0].claimed_at <= before:
            self._settling.add(Settlement(self._waiting.popleft().lease, PutBack()))
        if self._waiting:
            wait_seconds = max(0.0, self._waiting[0].claimed_at - before)
            self._late = self.clock.callLater(wait_seconds, self._put_back_late)

    def _begin(self, attempt: Attempt) -> None:
        lease = attempt.lease
        now = self.clock.seconds()
        history = attempt.history_at(now)
        message = lease.message
        try:
            attempt.aim(self.terms.rewriting.of(message.target, message.queue))
        except RewriteFailed as error:
            fault = NoResponse(Reason.BAD_TARGET, False, str(error))
            self._settling.add(Settlement(lease, judge(fault, history, self.terms.rules, self.random(), self.now())))
            return
        origin = attempt.origin
        outcome = before_call(history, self.terms.rules)
        if outcome is None and (self._is_draining or not self.may_write()):
            # The last heartbeat is too old: another dispatcher may have the message by now.
            outcome = PutBack()
        if outcome is not None:
            self._settling.add(Settlement(lease, outcome))
            return
        admission = self.flow.admit(lease.lane, message.queue, origin, now)
        if admission is CallAdmission.HELD:
            self._settling.add(Settlement(lease, PutBack()))
            return
        self._in_flight.add(attempt)
        if lease.message.headers:
            self.chains.look(lease.message, now)
        if admission is CallAdmission.CALL:
            attempt.begin()
        else:
            probe, probe_queue = admission.value
            attempt.begin(probe=probe, probe_queue=probe_queue)

    def ended(self, attempt: Attempt, exchange: Exchange) -> None:
        """Decide an exchange's outcome and pass it on to be settled (called by the attempt)."""
        if attempt not in self._in_flight:
            return
        self._in_flight.remove(attempt)
        now = self.clock.seconds()
        self.flow.ended(attempt.origin, now)
        lease = attempt.lease
        history = attempt.history or lease.history(attempt.begun_at - attempt.claimed_at)
        unix_now = self.now()
        message = lease.message
        outcome = self._judged(attempt, exchange, history, now, unix_now)
        if isinstance(exchange, Answer) and message.delivery is Delivery.REPEATED:
            # A crash would give up messages of the other kinds that were claimed and not called yet.
            self.ahead.answered()
        if self.events.wants(happened.CallEnded):
            self.events.emit(
                happened.CallEnded(
                    message.id, message.queue, message.target.url, lease.attempt, outcome, exchange.seconds
                )
            )
        if attempt.probe or attempt.probe_queue or not isinstance(outcome, Delivered):
            self._learn(attempt, exchange, now, unix_now)
        elif self.flow.limit.cuts.suspects:
            self.flow.limit.cuts.answered(attempt.origin)
        self._settling.add(Settlement(lease, outcome))
        self._listener.call_ended()

    def failed_unexpectedly(self, attempt: Attempt) -> None:
        """End a message with an outcome after a defect of ours, so that it neither hangs nor is retried without end."""
        defect = Defect()
        lease = attempt.lease
        self.events.emit(happened.Unexpected(f"delivering message {lease.message.id}", defect.getTraceback()))
        fault = NoResponse(Reason.BAD_RESPONSE, True, f"ap4r itself failed: {defect.value!r}")
        if attempt in self._in_flight:
            self.ended(attempt, fault)
        else:
            history = lease.history(0.0)
            self._settling.add(Settlement(lease, judge(fault, history, self.terms.rules, self.random(), self.now())))

    def _judged(self, attempt: Attempt, exchange: Exchange, history: History, now: float, unix_now: float) -> Outcome:
        message_id = attempt.lease.message.id
        since_at = self._client_errors.get(message_id, now) if self._client_errors else None
        if since_at is not None:
            history = history._replace(client_errors_seconds=now - since_at)
        own = attempt.target.upstream is not None
        outcome = judge(exchange, history, self.terms.rules, self.random(), unix_now, own=own)
        if isinstance(outcome, RetryLater):
            if outcome.counts and is_client_error(outcome.failure):
                self._client_errors.put(message_id, now if since_at is None else since_at, now)
        elif since_at is not None:
            self._client_errors.pop(message_id)
        return outcome

    def _learn(self, attempt: Attempt, exchange: Exchange, now: float, unix_now: float) -> None:
        """Record what an exchange that was not a plain success shows about its target."""
        message = attempt.lease.message
        held = CircuitBreaker(
            self.flow.limit, self.events, attempt.origin, message.queue,
            probe=attempt.probe, probe_queue=attempt.probe_queue, alone=attempt.left_out_alone,
        )  # fmt: skip
        if held.judge(exchange, self.terms.rules, now, self.random, unix_now):
            self._listener.origin_released()
        advice = self._advice.about(message, self.terms.callers.of(attempt.target), exchange, now)
        if advice is not None and isinstance(exchange, Answer):
            self.events.emit(happened.TurnedAway(message.queue, message.target.url, exchange.status, advice))
        in_flight = self.flow.limit.in_flight + 1
        advice = self._advice.about_silence(message, exchange, in_flight, now)
        if advice is not None:
            self.events.emit(happened.Unanswered(message.queue, message.target.url, in_flight, advice))

"""Delivering what was claimed: each message through limit, balance, transport and judgement to its settlement.

It reads no store and waits for nothing; the transport tells it when an exchange has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import getrandbits
from random import random as chance
from time import time as wall_clock

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure as Trouble

from ap4r import events as happened
from ap4r.dispatcher.advice import Advice
from ap4r.dispatcher.blame import blame
from ap4r.dispatcher.descriptions import Descriptions
from ap4r.dispatcher.holding import Holding
from ap4r.dispatcher.lanes import Lanes
from ap4r.dispatcher.limit import Admission, Limit
from ap4r.dispatcher.request import build_request
from ap4r.dispatcher.rewrite import RewriteFailed
from ap4r.dispatcher.terms import Terms
from ap4r.dispatcher.transport import Call, Transport
from ap4r.dispatcher.upstream import Upstream
from ap4r.dispatcher.way import Way
from ap4r.dispatcher.wording import Wording
from ap4r.message import Delivery
from ap4r.outcome import (
    Answer,
    Exchange,
    Fault,
    PutBack,
    Reason,
    before_call,
    judge,
)
from ap4r.storage.store import Lease, Settlement
from ap4r.target import Target


class Deliveries:
    """Every message between its claim and its outcome."""

    def __init__(
        self,
        clock: IReactorTime,
        transport: Transport,
        events: happened.Events,
        limit: Limit,
        lanes: Lanes,
        upstreams: Mapping[str, Upstream],
        terms: Terms,
        descriptions: Descriptions,
        *,
        settle: Callable[[Settlement], None],
        freed: Callable[[], None],
        released: Callable[[], None],
        may_call: Callable[[], bool],
        may_write: Callable[[], bool],
        random: Callable[[], float] = chance,
        now: Callable[[], float] = wall_clock,
    ) -> None:
        self.clock = clock
        self.transport = transport
        self.events = events
        self.limit = limit
        self.upstreams = upstreams
        self.terms = terms
        self.descriptions = descriptions
        self.random = random
        self.now = now
        self.may_write = may_write
        self._lanes = lanes
        self._advice = Advice()
        self._settle = settle
        self._freed = freed
        self._released = released
        self._may_call = may_call
        self._in_flight: set[_Delivery] = set()

    @property
    def in_flight(self) -> int:
        """How many messages are being called."""
        return len(self._in_flight)

    def take(self, leases: tuple[Lease, ...], claimed_at: float) -> None:
        """Deliver these messages.

        :param claimed_at: when the claim ended, by the reactor's clock.
        """
        for lease in leases:
            delivery = _Delivery(self, lease, claimed_at)
            try:
                self._begin(delivery)
            except Exception:  # noqa: BLE001 - one message's trouble must not be the others'
                self.failed_unexpectedly(delivery)

    def cut_all(self) -> None:
        """End every call now; each gets the outcome of a call that was cut off."""
        for delivery in list(self._in_flight):
            delivery.cut()

    def _begin(self, delivery: _Delivery) -> None:
        lease = delivery.lease
        now = self.clock.seconds()
        history = lease.history(now - delivery.claimed_at)
        message = lease.message
        try:
            delivery.aim(self.terms.rewriting.of(message.target, message.queue))
        except RewriteFailed as error:
            fault = Fault(Reason.BAD_TARGET, False, str(error))
            self._settle(Settlement(lease, judge(fault, history, self.terms.rules, self.random(), self.now())))
            return
        origin = delivery.origin
        self._lanes.learn(lease.lane, origin)
        outcome = before_call(history, self.terms.rules)
        if outcome is None and not self._may_call():
            # The beat is too old: the message may be another dispatcher's by now.
            outcome = PutBack()
        if outcome is not None:
            self._settle(Settlement(lease, outcome))
            return
        admission = self.limit.admit(origin, now)
        if admission is Admission.HELD:
            self._settle(Settlement(lease, PutBack()))
            return
        self._in_flight.add(delivery)
        delivery.begin(now, probe=admission is Admission.PROBE)

    def ended(self, delivery: _Delivery, exchange: Exchange) -> None:
        """Judge an exchange and hand its outcome over to be settled (told by the delivery)."""
        if delivery not in self._in_flight:
            return
        self._in_flight.remove(delivery)
        self.limit.ended(delivery.origin)
        lease = delivery.lease
        history = lease.history(delivery.begun_at - delivery.claimed_at)
        outcome = judge(exchange, history, self.terms.rules, self.random(), self.now())
        held = Holding(self.limit, self.events, delivery.origin, probe=delivery.probe, alone=delivery.left_out_alone)
        if held.judge(exchange, self.terms.rules, self.clock.seconds(), self.random, self.now()):
            self._released()
        message = lease.message
        self.events.emit(
            happened.CallEnded(message.id, message.queue, message.target.url, lease.attempt, outcome, exchange.seconds)
        )
        advice = self._advice.about(message, self.terms.bearings.of(delivery.target), exchange, self.clock.seconds())
        if advice is not None and isinstance(exchange, Answer):
            self.events.emit(happened.TurnedAway(message.queue, message.target.url, exchange.status, advice))
        self._settle(Settlement(lease, outcome))
        self._freed()

    def failed_unexpectedly(self, delivery: _Delivery) -> None:
        """Bring a message to an outcome after a defect of ours, so that it neither hangs nor is tried without end."""
        trouble = Trouble()
        lease = delivery.lease
        self.events.emit(happened.Unexpected(f"delivering message {lease.message.id}", trouble.getTraceback()))
        fault = Fault(Reason.BAD_RESPONSE, True, f"ap4r itself failed: {trouble.value!r}")
        if delivery in self._in_flight:
            self.ended(delivery, fault)
        else:
            history = lease.history(0.0)
            self._settle(Settlement(lease, judge(fault, history, self.terms.rules, self.random(), self.now())))


class _Delivery:
    """One attempt: the calls to one server after the other until one takes it."""

    __slots__ = (
        *("_call", "_deliveries", "_server", "_tried", "_upstream", "_wording"),
        *("begun_at", "claimed_at", "lease", "left_out_alone", "origin", "probe", "target"),
    )

    def __init__(self, deliveries: Deliveries, lease: Lease, claimed_at: float) -> None:
        self._deliveries = deliveries
        self.lease = lease
        self.claimed_at = claimed_at
        self.target = lease.message.target
        self.origin = self.target.origin
        self.begun_at = claimed_at
        self.probe = False
        self._tried: list[str] = []
        self._server = ""
        self._upstream: Upstream | None = None
        self._call: Call | None = None
        self._wording = Wording(lease)
        self.left_out_alone = False  # its server was left out for its answer, and others are there

    def aim(self, target: Target) -> None:
        if target is not self.target:
            self.target = target
            self.origin = target.origin

    def begin(self, now: float, *, probe: bool) -> None:
        self.begun_at = now
        self.probe = probe
        message = self.lease.message
        self._deliveries.events.emit(
            happened.CallStarted(message.id, message.queue, message.target.url, self.lease.attempt)
        )
        self._wording.begin(self._deliveries.descriptions, self._left_seconds(now), self._worded)

    def _worded(self, problem: Fault | None, took_time: bool) -> None:
        if took_time:
            # What it took to write the message is not the target's delay.
            self.begun_at = self._deliveries.clock.seconds()
        try:
            if problem is None:
                self._call_next(None)
            else:
                self._deliveries.ended(self, problem)
        except Exception:  # noqa: BLE001 - whatever it is, the message must come to an end
            self._deliveries.failed_unexpectedly(self)

    def cut(self) -> None:
        self._wording.cut()
        if self._call is not None:
            self._call.cut(Reason.STOPPED)

    def _call_next(self, refused: Fault | None) -> None:
        deliveries = self._deliveries
        target = self.target
        now = deliveries.clock.seconds()
        url, way = target.url, None
        if target.upstream is not None:
            upstream = deliveries.upstreams.get(target.upstream)
            if upstream is None:
                detail = f"no upstream is called {target.upstream}"
                deliveries.ended(self, Fault(Reason.BAD_TARGET, False, detail))
                return
            server = upstream.choose(now, self._tried, random=deliveries.random, anyway=self.probe)
            if server is None:
                deliveries.ended(self, refused or Fault(Reason.NO_SERVER, False, "every server is left out"))
                return
            upstream.begun(server)
            self._upstream, self._server = upstream, server
            way = deliveries.terms.ways.of(upstream.name, server)
            url = way.base + url
        self._send(url, way, now)

    def _send(self, url: str, way: Way | None, now: float) -> None:
        deliveries, message = self._deliveries, self.lease.message
        terms = deliveries.terms
        history = self.lease.history(now - self.claimed_at)
        request = build_request(
            self._wording.sent, url, history, terms.rules, now=deliveries.now(), span_id=f"{getrandbits(64):016x}",
            bearing=terms.bearings.of(self.target),
        )  # fmt: skip
        self._call = None
        call = deliveries.transport.begin(
            request, max(0.0, self._left_seconds(now)), self._ended, may_write=deliveries.may_write,
            fresh=message.delivery is Delivery.ONCE, read=self._wording.reader, way=way,
        )  # fmt: skip
        if self._call is None:
            self._call = call

    def _left_seconds(self, now: float) -> float:
        own = self.lease.message.timeout_seconds
        whole = self._deliveries.terms.timeout_seconds if own is None else own
        return whole - (now - self.begun_at)

    def _ended(self, exchange: Exchange) -> None:
        try:
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                upstream.ended(self._server)
                if self._fails_over(upstream, exchange):
                    assert isinstance(exchange, Fault)
                    self._tried.append(self._server)
                    self._call_next(exchange)
                    return
            self._deliveries.ended(self, exchange)
        except Exception:  # noqa: BLE001 - whatever it is, the message must come to an end
            self._deliveries.failed_unexpectedly(self)

    def _fails_over(self, upstream: Upstream, exchange: Exchange) -> bool:
        deliveries, now = self._deliveries, self._deliveries.clock.seconds()
        found = blame(
            upstream, self._server, exchange, deliveries.terms.rules,
            now=now, unix_now=deliveries.now(), random=deliveries.random(), probe=self.probe,
        )  # fmt: skip
        self.left_out_alone = found.alone
        if found.seconds is not None:
            deliveries.events.emit(happened.ServerLeftOut(upstream.name, self._server, found.seconds))
        # Without time left the next server would be blamed for what this one took.
        return found.uncalled and self._left_seconds(now) > 0.0

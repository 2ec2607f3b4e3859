"""One attempt: a message is called at one server after the other until one accepts it.

It decides nothing about the message; its result is passed to the deliveries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import getrandbits
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ap4r.dispatcher.delivery.delivery_settings import DeliverySettings
from ap4r.dispatcher.delivery.protocol_step import ProtocolStep
from ap4r.dispatcher.delivery.request import build_request
from ap4r.dispatcher.http_client.client import HttpClient
from ap4r.dispatcher.http_client.exchange import HttpExchange
from ap4r.dispatcher.upstreams.ejection import blame
from ap4r.dispatcher.upstreams.server_routes import ServerRoute
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.dispatcher.wsdl.cache import DescriptionCache
from ap4r.events import events as happened
from ap4r.events.bus import Events
from ap4r.message.message import HTTP, Delivery
from ap4r.message.target import Target
from ap4r.outcome.outcome import Exchange, History, NoResponse, Reason
from ap4r.storage.store import Lease


class AttemptContext(Protocol):
    """What attempts have in common; an attempt reports its end here."""

    clock: IReactorTime
    transport: HttpClient
    events: Events
    upstreams: Mapping[str, Upstream]
    terms: DeliverySettings
    descriptions: DescriptionCache
    random: Callable[[], float]
    now: Callable[[], float]
    may_write: Callable[[], bool]

    def ended(self, attempt: Attempt, exchange: Exchange) -> None:
        """Receive the end of an attempt."""

    def failed_unexpectedly(self, attempt: Attempt) -> None:
        """End an attempt while an exception is being handled."""


class Attempt:
    """One message between its claim and the end of its call."""

    __slots__ = (
        *("_call", "_deliveries", "_server", "_tried", "_upstream", "_step"),
        *("begun_at", "claimed_at", "history", "lease", "left_out_alone", "origin", "probe"),
        *("probe_queue", "target"),
    )

    def __init__(self, deliveries: AttemptContext, lease: Lease, claimed_at: float) -> None:
        self._deliveries = deliveries
        self.lease = lease
        self.claimed_at = claimed_at
        self.target = lease.message.target
        self.origin = self.target.origin
        self.begun_at = claimed_at
        self.history: History | None = None  # as of begun_at
        self.probe = False  # of the server
        self.probe_queue = False  # at its server
        self._tried: list[str] = []
        self._server = ""
        self._upstream: Upstream | None = None
        self._call: HttpExchange | None = None
        self._step: ProtocolStep | None = None
        self.left_out_alone = False  # its queue was asked for a pause at this server, and there are others

    def aim(self, target: Target) -> None:
        """Call another target than the one that the message names."""
        if target is not self.target:
            self.target = target
            self.origin = target.origin

    def history_at(self, now: float) -> History:
        """Return the facts for the outcome, as of an instant of the reactor's clock; start counting from there."""
        self.begun_at = now
        history = self.history = self.lease.history(now - self.claimed_at)
        return history

    def begin(self, *, probe: bool = False, probe_queue: bool = False) -> None:
        """Make the call, at the instant of the last `history_at`."""
        self.probe, self.probe_queue = probe, probe_queue
        message, deliveries = self.lease.message, self._deliveries
        if deliveries.events.wants(happened.CallStarted):
            deliveries.events.emit(
                happened.CallStarted(message.id, message.queue, message.target.url, self.lease.attempt)
            )
        if message.protocol == HTTP:
            self._call_next(None, self.begun_at)
        else:
            self._step = ProtocolStep(self.lease)
            self._step.begin(deliveries.descriptions, self._left_seconds(self.begun_at), self._written)

    def cut(self) -> None:
        """End the call, after reading what has arrived of its answer."""
        if self._step is not None:
            self._step.cut()
        if self._call is not None:
            self._call.end(Reason.STOPPED)

    def _written(self, problem: NoResponse | None, took_time: bool) -> None:
        if took_time:
            # The time for writing the message is not a delay of the target.
            self.history_at(self._deliveries.clock.seconds())
        try:
            if problem is None:
                self._call_next(None, self.begun_at)
            else:
                self._deliveries.ended(self, problem)
        except Exception:  # noqa: BLE001 - after any exception the message must end
            self._deliveries.failed_unexpectedly(self)

    def _call_next(self, refused: NoResponse | None, now: float) -> None:
        deliveries = self._deliveries
        target = self.target
        url, route = target.url, None
        if target.upstream is not None:
            upstream = deliveries.upstreams.get(target.upstream)
            if upstream is None:
                detail = f"no upstream is called {target.upstream}"
                deliveries.ended(self, NoResponse(Reason.BAD_TARGET, False, detail))
                return
            server = upstream.choose(
                now, self._tried, queue=self.lease.message.queue, random=deliveries.random, anyway=self.probe
            )
            if server is None:
                deliveries.ended(self, refused or NoResponse(Reason.NO_SERVER, False, "every server is left out"))
                return
            upstream.begun(server)
            self._upstream, self._server = upstream, server
            route = deliveries.terms.routes.of(upstream.name, server)
            url = route.base + url
        elif deliveries.terms.routes.has_proxies:
            route = deliveries.terms.routes.to(url)
        self._send(url, route, now)

    def _send(self, url: str, route: ServerRoute | None, now: float) -> None:
        deliveries, lease, step = self._deliveries, self.lease, self._step
        terms = deliveries.terms
        history = self.history if now == self.begun_at else None
        try:
            request = build_request(
                lease if step is None else step.sent, url, history or lease.history(now - self.claimed_at),
                terms.rules, now=deliveries.now(), span_id=f"{getrandbits(64):016x}",
                caller=terms.callers.of(self.target),
            )  # fmt: skip
        except ValueError as error:
            self._ended(NoResponse(Reason.BAD_TARGET, False, str(error)))
            return
        self._call = None
        call = deliveries.transport.begin(
            request, max(0.0, self._left_seconds(now)), self._ended, may_write=deliveries.may_write,
            fresh=lease.message.delivery is Delivery.ONCE, read=None if step is None else step.reader, route=route,
        )  # fmt: skip
        if self._call is None:
            self._call = call

    def _left_seconds(self, now: float) -> float:
        own = self.lease.message.timeout_seconds
        whole = self._deliveries.terms.timeout_seconds if own is None else own
        return whole - (now - self.begun_at)

    def _ended(self, exchange: Exchange) -> None:
        try:
            own = self.lease.message.timeout_seconds
            if own is not None and isinstance(exchange, NoResponse):
                exchange = self._by_its_own_time(exchange, own)
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                upstream.ended(self._server)
                now = self._deliveries.clock.seconds()
                if self._fails_over(upstream, exchange, now):
                    assert isinstance(exchange, NoResponse)
                    self._tried.append(self._server)
                    self._call_next(exchange, now)
                    return
            self._deliveries.ended(self, exchange)
        except Exception:  # noqa: BLE001 - after any exception the message must end
            self._deliveries.failed_unexpectedly(self)

    def _by_its_own_time(self, fault: NoResponse, own: float) -> NoResponse:
        """Return the fault of a message whose own time is shorter than connecting may take: its time ran out."""
        connecting = self._deliveries.transport.bounds.connect_timeout_seconds
        if fault.reason is not Reason.CONNECT_TIMEOUT or own >= connecting:
            return fault
        detail = f"its timeout_seconds of {own:g} ran out before there was a connection"
        return NoResponse(Reason.TIMEOUT, False, detail, fault.status, fault.seconds)

    def _fails_over(self, upstream: Upstream, exchange: Exchange, now: float) -> bool:
        deliveries = self._deliveries
        found = blame(
            upstream, self._server, self.lease.message.queue, exchange, deliveries.terms.rules,
            now=now, unix_now=deliveries.now(), random=deliveries.random(),
        )  # fmt: skip
        self.left_out_alone = found.alone
        if found.seconds is not None:
            deliveries.events.emit(happened.ServerLeftOut(upstream.name, self._server, found.seconds))
        # Without time left, the next server would be blamed for the time of this one.
        return found.uncalled and self._left_seconds(now) > 0.0

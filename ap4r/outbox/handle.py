"""The handle, with which a handler sends messages to be delivered later.

It lives in the environ of one request, or in one session, and nowhere else.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from ap4r.describe.describe import describe_message
from ap4r.describe.routes import Routes
from ap4r.describe.trace_context import new_trace_id, read_trace_id
from ap4r.errors import DeliveryRefused, DeliveryRequired, HandleClosed, StoreError, TransactionOpen
from ap4r.message.target import TargetLike
from ap4r.outbox.blocks import Blocks
from ap4r.outbox.builder import MessageBuilder, SingleUse, building
from ap4r.outbox.pending import On, PendingMessages, Sealed, Verdict, check_on
from ap4r.outbox.sink import Writer
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import OWN_SENDER
from ap4r.signing.verified_delivery import VerifiedDelivery
from ap4r.storage.app_connection.argument import NotGiven, given_connection

if TYPE_CHECKING:
    from ap4r.inbox.receive import Receipt


class Handle(Blocks):
    """Accepts messages during one request and stores them when its verdict is COMMIT.

    Threads of the request may share it. A `transaction()` contains only the messages of its own thread.
    """

    __slots__ = (
        *("_find_writer", "_routes", "_trace_id", "_traceparent"),
        *("delivery", "depth", "path", "place", "refusal", "why_no_delivery"),
    )

    def __init__(
        self,
        find_writer: Callable[[], Writer],
        limits: Settings,
        place: object,
        traceparent: str | None = None,
        delivery: VerifiedDelivery | None = None,
        routes: Routes | None = None,
        connection: Callable[[], object] | None = None,
    ) -> None:
        """Begin with an empty outbox; open nothing.

        :param place: the store's URL or the sink itself, which identifies the store.
        :param traceparent: the request's own, whose trace the messages continue.
        :param delivery: the delivery that the request is, if it was verified.
        :param routes: where targets by name are looked up.
        :param connection: returns the application's connection for `transaction()` and `join()` without an argument.
        """
        # Each request builds a handle, and a chain of constructors would take half of that time.
        self._limits = limits
        self._find_connection = connection
        self._find_writer = find_writer
        self._outbox = None
        self._lock = threading.Lock()
        self._closed = False
        self._late_bells = []
        self.place = place
        #: The verified delivery that this request is, else None.
        self.delivery = delivery
        self.depth = 0  # of the messages sent here: more than 0 within a delivery
        self.path = ""  # of the request, for `once(key=…)`
        self.refusal: DeliveryRefused | None = None  # why the request was refused
        self.why_no_delivery = ""  # if the gate inspected the request
        self._routes = routes
        self._traceparent = traceparent
        self._trace_id: str | None = None

    def async_to(
        self,
        target: TargetLike,
        params: object = None,
        *,
        queue: str | None = None,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        format: str = "form",
        delivery: str = "repeated",
        delay_seconds: float | datetime.timedelta | None = None,
        deliver_at: float | datetime.datetime | None = None,
        expires_seconds: float | datetime.timedelta | None = None,
        max_deliveries: int | None = None,
        timeout_seconds: float | datetime.timedelta | None = None,
        on: str = "success",
        protocol: str = "http",
        action: str | None = None,
        priority: int | None = None,
        **options: object,
    ) -> str:
        """Send a message to `target`: call it later, if the request ends well. Return the message's id.

        All arguments are checked now; nothing is stored yet.

        :param target: a path of this application, an absolute URL, {"url": …}, {"controller": …, "action": …}, or
            {"endpoint": …} with the values of its route.
        :param params: a value that `format` or `protocol` can encode: a mapping, str, bytes, None and more.
        :param delivery: "repeated" (at least once), "once" (at most once) or "best_effort" (one try).
        :param delay_seconds: a number or a timedelta, as `expires_seconds` and `timeout_seconds`.
        :param deliver_at: Unix seconds, or a datetime with a time zone; not together with `delay_seconds`.
        :param on: "success", "failure" (only if the request fails) or "always".
        :param protocol: "http", "xmlrpc", "soap", "jsonrpc", or one from an installed package.
        :param action: what to call at the target: the method of XML-RPC and JSON-RPC, the operation of SOAP.
        :param priority: sent to the target as Ap4r-Priority.
        :param options: options of the protocol: `wsdl`, `version` … (docs/calling.md).
        :raises MessageError: TargetRefused, OptionRefused, PayloadNotEncodable, PayloadTooLarge or DepthExceeded, with
            the reason.
        :raises HandleClosed: the request already has its verdict.
        """
        if self._closed:
            raise HandleClosed
        waits_for = check_on(on)
        message = describe_message(
            target,
            params,
            queue=queue,
            method=method,
            headers=headers,
            format=format,
            delivery=delivery,
            delay_seconds=delay_seconds,
            deliver_at=deliver_at,
            expires_seconds=expires_seconds,
            max_deliveries=max_deliveries,
            timeout_seconds=timeout_seconds,
            protocol=protocol,
            action=action,
            priority=priority,
            options=options,
            routes=self._routes,
            limits=self._limits,
            trace_id=self._trace(headers),
            depth=self.depth,
        )
        with self._lock:
            takes_now = self._open_outbox().take(message, waits_for, threading.get_ident())
        if takes_now is not None:
            takes_now.write([message])
        return message.id

    def message(
        self, target: TargetLike, params: object = None, **options: Any
    ) -> AbstractContextManager[MessageBuilder]:
        """Return a builder; when its block ends without an exception, send the message that was built.

        :param options: those of `async_to`.
        :raises MessageError: at the block's end, as from `async_to`.
        :raises BlockUsed: at the start of a second `with` of the same block.
        """
        return SingleUse("message", building(partial(self.async_to, target), params, options))

    def require_delivery(self, sender: str = OWN_SENDER) -> VerifiedDelivery:
        """Return the delivery that this request is; refuse every other request.

        A delivery of our own dispatcher must have an `Ap4r-Signature`, which covers the path too.

        :param sender: who must have signed it: our own dispatcher, or the name of a table [senders.NAME].
        :raises DeliveryRequired: it is not such a delivery; if uncaught, the request is answered 403 with the reason.
        """
        delivery = self.delivery
        if delivery is None:
            why = self.why_no_delivery or "it has no signature that can be verified"
        elif delivery.sender != sender:
            why = f"{delivery.sender} signed it, and this action accepts only {sender}"
        elif sender == OWN_SENDER and not delivery.whole_request_signed:
            why = "it has no Ap4r-Signature"
        else:
            return delivery
        self.refusal = DeliveryRequired(why)
        raise self.refusal

    def once(
        self,
        conn: object = NotGiven.CONN,
        *,
        using: str | None = None,
        key: str | None = None,
        body: bytes | None = None,
    ) -> AbstractContextManager[Receipt]:
        """Receive this request's message once: `with ap4r.once(conn) as delivery: if delivery.first: …`.

        The block is one of `transaction(conn)`; a record of the message, and the messages sent in the block, commit or
        roll back with it. The block always runs; `first` is false when such a record was committed before.
        `answer(status, body)` in the block stores the answer that the middleware gives to a repeat.

        :param conn: as in `transaction`; if omitted, the `connection=` of the middleware or session.
        :param key: identifies a request that is not a verified delivery, such as a browser's Idempotency-Key; with
            `body`, a repeat with another content is detected.
        :raises NotADelivery: the request is not a verified delivery, and no key was passed.
        :raises DeliveryBusy: another call of the message is still running; if uncaught, it is answered 409.
        :raises DeliveryDiffers: its id was used for another content; if uncaught, it is answered 422.
        """
        from ap4r.inbox.receive import receive

        given = given_connection(conn, using, self._find_connection)
        return SingleUse("once", receive(self, given, self._limits.table_prefix, key, body))

    @property
    def is_empty(self) -> bool:
        """Whether no message waits for the verdict."""
        return self._outbox is None or self._outbox.is_empty

    @property
    def closed(self) -> bool:
        """Whether the verdict was given."""
        return self._closed

    def commit(self) -> None:
        """Store the messages that wait for success now, before the response ends; a stream is not held back then.

        Messages with on="failure", and blocks that are still open, stay. Later messages need another call.

        :raises StoreError: the messages are not stored. They stay pending and follow the next commit() or the verdict;
            with `outcome_unknown` they may be stored all the same.
        :raises HandleClosed: the request already has its verdict.
        """
        with self._lock:
            outbox = self._open_outbox()
        with outbox.writing:
            with self._lock:
                sealed = self._open_outbox().seal(Verdict.COMMIT)
            self._write(outbox, sealed)

    def rollback(self) -> None:
        """Drop the messages that wait for success. Those with another `on`, and blocks that are still open, stay.

        :raises HandleClosed: the request already has its verdict.
        """
        with self._lock:
            outbox = self._open_outbox()
        with outbox.writing, self._lock:
            self._open_outbox().drop(On.SUCCESS)

    def restart(self) -> None:
        """Drop every message that is not stored, whichever verdict it waits for: the request's work starts over.

        For code that repeats a request's work within the request, as pyramid_retry does: messages of a failed attempt
        must not be stored with those of the next one. What `commit()` or a transaction has stored stays stored.

        :raises HandleClosed: the request already has its verdict.
        """
        with self._lock:
            outbox = self._open_outbox()
        with outbox.writing, self._lock:
            self._open_outbox().clear()

    @property
    def success_count(self) -> int:
        """The number of messages that wait for success."""
        outbox = self._outbox
        if outbox is None:
            return 0
        with self._lock:
            return outbox.success_count

    def would_write(self, verdict: Verdict) -> bool:
        """Return whether this verdict, given now, would store anything."""
        outbox = self._outbox
        if outbox is None:
            return False
        with self._lock:
            return outbox.would_write(verdict)

    @property
    def has_open_messages(self) -> bool:
        """Whether a `transaction()` block that is still open holds a message."""
        outbox = self._outbox
        if outbox is None:
            return False
        with self._lock:
            return outbox.has_open_messages

    def conclude(self, verdict: Verdict) -> None:
        """Apply the verdict: store what follows it, drop the rest, accept nothing more. Later calls do nothing.

        :raises StoreError: what follows the verdict is not stored, or with `outcome_unknown` may be.
        :raises TransactionOpen: COMMIT came before the end of a block with messages; ABORT was applied instead.
        """
        with self._lock:
            given_before, self._closed = self._closed, True
        if given_before or self._outbox is None:
            return
        try:
            self._follow(self._outbox, verdict)
        finally:
            # For transactions whose end cannot be observed: they should have ended by now.
            for ring in self._late_bells:
                ring()

    def close_unused(self) -> bool:
        """Close the handle if it was never used, whatever the verdict would be; return whether that was so."""
        with self._lock:
            if self._outbox is not None or self._closed:
                return False
            self._closed = True
        return True

    def _trace(self, headers: object) -> str:
        # One trace for each request, unless the caller passes another one for a message.
        if headers is not None and isinstance(headers, Mapping):
            for name, value in headers.items():
                if isinstance(name, str) and name.lower() == "traceparent" and isinstance(value, str):
                    return read_trace_id(value) or self._own_trace()
        return self._own_trace()

    def _own_trace(self) -> str:
        if self._trace_id is None:
            with self._lock:
                if self._trace_id is None:
                    self._trace_id = read_trace_id(self._traceparent) or new_trace_id()
        return self._trace_id

    def _follow(self, outbox: PendingMessages, verdict: Verdict) -> None:
        with outbox.writing:
            with self._lock:
                too_early = verdict is Verdict.COMMIT and outbox.has_open_messages
                sealed = outbox.seal(Verdict.ABORT if too_early else verdict)
            self._write(outbox, sealed)
        if too_early:
            raise TransactionOpen

    def _write(self, outbox: PendingMessages, sealed_ones: list[Sealed]) -> None:
        for sealed in sealed_ones:
            try:
                self._find_writer().write(sealed.put)
            except StoreError as error:
                if not getattr(error, "outcome_unknown", False):
                    with self._lock:
                        outbox.unseal(sealed)
                raise
            with self._lock:
                outbox.settle(sealed)

"""The endpoint of the intake: admits a request, has it read and stored, and answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ap4r.describe.trace_context import new_trace_id, read_trace_id
from ap4r.dispatcher.http_server.admission import Rates, RequestAdmission
from ap4r.dispatcher.http_server.intake.json import RequestRefused, id_of_key
from ap4r.dispatcher.http_server.intake.put_batches import PutBatches
from ap4r.dispatcher.http_server.intake.request_reading import IntakeReading, Read
from ap4r.dispatcher.http_server.intake.x_ap4r import read_options
from ap4r.dispatcher.http_server.problem import Refusal, refusal_of
from ap4r.dispatcher.http_server.route_rules import Headed
from ap4r.errors import Ap4rError, MessageError
from ap4r.message.message import Message, Put
from ap4r.redaction import shortened

JSON = "application/json"
#: Headers of which two with different values would be ambiguous.
_ONCE = ("Host", "Authorization", "Content-Type", "Content-Encoding", "X-AP4R", "Idempotency-Key")
_ONCE_NAMES = {name.lower().encode(): name for name in _ONCE}
#: All headers that are read here.
_READ_NAMES = {**_ONCE_NAMES, b"origin": "Origin", b"traceparent": "traceparent"}
_log = Logger(namespace="ap4r.intake")


class Arrived(Protocol):
    """A request as the endpoint uses it, by whichever path it arrived."""

    admitted: bool
    is_gone: bool

    @property
    def fields(self) -> Mapping[bytes, Sequence[bytes]]:
        """The headers by lower-case name."""

    @property
    def body(self) -> bytes:
        """The whole body."""

    def field(self, name: bytes) -> str | None:
        """Return the header of that name as text, after the endpoint has checked that it is UTF-8."""

    def getClientAddress(self) -> Any:
        """Return the address that it comes from."""

    def respond(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer."""


class IntakeEndpoint:
    """Accepts messages: admits a request, has it read and stored, answers."""

    _admission: RequestAdmission
    _reading: IntakeReading

    def __init__(self, gathered: PutBatches, clock: IReactorTime) -> None:
        """Refuse everything until `take_over` sets the rules."""
        self._rates = Rates(1.0)
        self._gathered = gathered
        self._clock = clock
        self.stopping = False

    def take_over(self, admission: RequestAdmission, reading: IntakeReading, rate: float) -> None:
        """Use other rules from now on."""
        self._admission, self._reading, self._rates.rate = admission, reading, rate

    def refuse(self, request: Headed) -> Refusal | None:
        """Return why a request is refused, by its headers alone."""
        if self.stopping:
            advice = "call another dispatcher's intake, or this one later; nothing was stored"
            return Refusal(503, "stopping", "this dispatcher is stopping", "", advice, 2.0)
        not_text = undecodable(request)
        if not_text is not None:
            return not_text
        host = request.field(b"host") or ""
        refusal = self._admission.refuse(host, request.field(b"origin"), request.field(b"authorization"))
        return refusal or _unreadable(request)

    def post_json(self, request: Arrived) -> None:
        """Answer `POST /messages`, also if anything is wrong with it."""
        self._answer(request, lambda: self._take_json(request))

    def _take_json(self, request: Arrived) -> None:
        if b"x-ap4r" in request.fields:
            advice = "POST /queues/NAME accepts it, with the body to send on; here the options are in the JSON"
            problem = "the header X-AP4R has no meaning at /messages"
            return self._answer_refusal(request, Refusal(400, "misplaced_header", problem, "X-AP4R", advice))
        media_type = (request.field(b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != JSON:
            advice = f"send Content-Type: {JSON}"
            return self._answer_refusal(
                request, Refusal(415, "wrong_type", f"{media_type or 'nothing'} is not {JSON}", "Content-Type", advice)
            )
        body, key, traceparent = request.body, request.field(b"idempotency-key"), request.field(b"traceparent")
        read = self._reading.read_quickly(body, key, traceparent)
        if read is not None:
            return self._put_read(request, read)

        def done(elsewhere: Read | Refusal) -> None:
            if request.is_gone:
                return
            if isinstance(elsewhere, Refusal):
                self._answer_refusal(request, elsewhere)
            else:
                self._answer(request, lambda: self._put_read(request, elsewhere))

        return self._reading.read(self._caller(request), body, key, traceparent, done)

    def _put_read(self, request: Arrived, read: Read) -> None:
        ids = [message.id for message in read.messages]
        # Ids have no character that JSON would escape.
        body = json.dumps({"ids": ids}) if read.several else f'{{"id": "{ids[0]}"}}'
        return self._put(request, read.messages, 202, JSON, f"{body}\n".encode())

    def post_raw(self, request: Arrived, queue: str) -> None:
        """Answer `POST /queues/NAME`, also if anything is wrong with it."""
        self._answer(request, lambda: self._take_raw(request, queue))

    def _take_raw(self, request: Arrived, queue: str) -> None:
        given = request.field(b"x-ap4r")
        if given is None:
            advice = "send X-AP4R: dispatch_mode=HTTP, target_method=POST, target_url=http://…"
            return self._answer_refusal(
                request, Refusal(415, "wrong_type", "the header X-AP4R is missing", "X-AP4R", advice)
            )
        options = read_options(given)
        headers = options.setdefault("headers", {})
        content_type, body = request.field(b"content-type"), request.body
        if content_type is not None and body and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = content_type
        key = request.field(b"idempotency-key")
        message = self._reading.intake.describe(
            options.pop("target"),
            id=None if key is None else id_of_key(key),
            trace_id=read_trace_id(request.field(b"traceparent")) or new_trace_id(),
            params=body or None,
            format="raw",
            queue=queue,
            **options,
        )
        # As AP4R answered: only the id.
        return self._put(request, [message], 200, "text/plain", message.id.encode())

    def _answer(self, request: Arrived, take: Callable[[], None]) -> None:
        """Admit a request, handle it, and answer whatever that raises."""
        try:
            refusal = None if request.admitted and not self.stopping else self.refuse(request)
            if refusal is not None:
                self._answer_refusal(request, refusal)
            else:
                take()
        except RequestRefused as refused:
            self._answer_refusal(request, refused.refusal)
        except MessageError as error:
            self._answer_refusal(request, refusal_of(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, this caller has an answer and others are served
            _log.failure("the intake met a defect")
            self._answer_refusal(request, refusal_of(error))

    def _put(self, request: Arrived, messages: list[Message], status: int, kind: str, body: bytes) -> None:
        refusal = self._rates.refuse(self._caller(request), len(messages), self._clock.seconds())
        if refusal is None and self._gathered.is_full:
            advice = "send it again later; nothing was stored"
            refusal = Refusal(503, "busy", "too many messages wait for the store", "", advice, 1.0)
        if refusal is not None:
            return self._answer_refusal(request, refusal)

        def stored(_: None) -> None:
            if not request.is_gone:
                request.respond(status, kind, body, {})

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, Ap4rError):
                _log.failure("the intake met a defect", failure)
            if not request.is_gone:
                assert isinstance(failure.value, Exception)
                self._answer_refusal(request, refusal_of(failure.value))

        self._gathered.add(Put(messages[0].id, tuple(messages), each=True)).addCallbacks(stored, failed)
        return None

    def _caller(self, request: Arrived) -> str:
        peer = str(getattr(request.getClientAddress(), "host", ""))
        return self._admission.caller_of(request.field(b"authorization"), peer)

    def _answer_refusal(self, request: Arrived, refusal: Refusal) -> None:
        request.respond(refusal.status, JSON, refusal.body, refusal.headers)


def undecodable(request: Headed) -> Refusal | None:
    """Return the refusal of a request whose headers are not text, or None."""
    for key, values in request.fields.items():
        name = _READ_NAMES.get(key)
        if name is None:
            continue
        for value in values:
            try:
                value.decode()
            except UnicodeDecodeError:
                return Refusal(400, "not_text", f"the header {name} is not UTF-8", name, "send it in ASCII, or UTF-8")
    return None


def _unreadable(request: Headed) -> Refusal | None:
    """Return the refusal of a request whose headers are ambiguous, or None."""
    for key, values in request.fields.items():
        if len(values) > 1 and key in _ONCE_NAMES:
            name = _ONCE_NAMES[key]
            return Refusal(400, "repeated_header", f"the header {name} occurs twice", name, "send it once")
    coding = request.field(b"content-encoding")
    if coding and coding.strip().lower() not in ("", "identity"):
        problem = f"bodies with Content-Encoding are not taken ({shortened(coding, 80)})"
        return Refusal(415, "wrong_type", problem, "Content-Encoding", "send the body as it is")
    return None

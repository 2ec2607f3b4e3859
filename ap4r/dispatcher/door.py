"""The intake's HTTP: /messages, /queues/NAME and /openapi.json, around what `intake` reads and `gather` stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ap4r.dispatcher.admission import Admission, Rates
from ap4r.dispatcher.arrival import ArrivingRequest
from ap4r.dispatcher.gather import Gathered
from ap4r.dispatcher.intake import Intake, Refused, id_of_key
from ap4r.dispatcher.refusal import Refusal, refusal_of
from ap4r.dispatcher.x_ap4r import read_options
from ap4r.errors import Ap4rError, MessageError, shortened
from ap4r.message import Message, Put
from ap4r.outbox.traceparent import new_trace_id, read_trace_id

_JSON = "application/json"
#: Of two that differ, any choice would be wrong for one of those who read them.
_ONCE = ("Host", "Authorization", "Content-Type", "Content-Encoding", "X-AP4R", "Idempotency-Key")
_log = Logger(namespace="ap4r.intake")


class Door:
    """Takes messages: admits a request, has it read, has it stored, answers."""

    _admission: Admission
    _intake: Intake

    def __init__(self, gathered: Gathered, clock: IReactorTime) -> None:
        """Begin closed to all: `take_over` gives the rules."""
        self._rates = Rates(1.0)
        self._gathered = gathered
        self._clock = clock
        self.stopping = False

    def take_over(self, admission: Admission, intake: Intake, rate: float) -> None:
        """Take other rules."""
        self._admission, self._intake, self._rates.rate = admission, intake, rate

    def refuse(self, request: Request) -> Refusal | None:
        """Give why a request may not come in, by its headers alone."""
        if self.stopping:
            advice = "call another dispatcher's intake, or this one later; nothing was stored"
            return Refusal(503, "stopping", "this dispatcher is stopping", "", advice, 2.0)
        host = header(request, "host") or ""
        refusal = self._admission.refuse(host, header(request, "origin"), header(request, "authorization"))
        return refusal or _unreadable(request)

    def take_json(self, request: ArrivingRequest) -> None:
        """Answer `POST /messages`."""
        media_type = (header(request, "content-type") or "").partition(";")[0].strip().lower()
        if media_type != _JSON:
            advice = f"send Content-Type: {_JSON}"
            return self._answer_refusal(
                request, Refusal(415, "wrong_type", f"{media_type or 'nothing'} is not {_JSON}", "Content-Type", advice)
            )
        key = header(request, "idempotency-key")
        messages, several = self._intake.read_json(request.body, key, header(request, "traceparent"))
        ids = [message.id for message in messages]
        body = json.dumps({"ids": ids} if several else {"id": ids[0]}).encode() + b"\n"
        return self._put(request, messages, 202, _JSON, body)

    def take_raw(self, request: ArrivingRequest, queue: str) -> None:
        """Answer `POST /queues/NAME`."""
        given = header(request, "x-ap4r")
        if given is None:
            advice = "send X-AP4R: dispatch_mode=HTTP, target_method=POST, target_url=http://…"
            return self._answer_refusal(
                request, Refusal(415, "wrong_type", "the header X-AP4R is missing", "X-AP4R", advice)
            )
        options = read_options(given)
        headers = options.setdefault("headers", {})
        content_type, body = header(request, "content-type"), request.body
        if content_type is not None and body and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = content_type
        key = header(request, "idempotency-key")
        message = self._intake.describe(
            options.pop("target"),
            id=None if key is None else id_of_key(key),
            trace_id=read_trace_id(header(request, "traceparent")) or new_trace_id(),
            params=body or None,
            format="raw",
            queue=queue,
            **options,
        )
        # As AP4R answered: the id and nothing else.
        return self._put(request, [message], 200, "text/plain", message.id.encode())

    def answer(self, request: ArrivingRequest, take: Callable[[], None]) -> None:
        """Admit a request, take it in, and answer whatever that raises."""
        try:
            refusal = None if request.admitted and not self.stopping else self.refuse(request)
            if refusal is not None:
                self._answer_refusal(request, refusal)
            else:
                take()
        except Refused as refused:
            self._answer_refusal(request, refused.refusal)
        except MessageError as error:
            self._answer_refusal(request, refusal_of(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, this caller has an answer and others are served
            _log.failure("the intake met a defect")
            self._answer_refusal(request, refusal_of(error))

    def _put(self, request: Request, messages: list[Message], status: int, kind: str, body: bytes) -> None:
        caller = header(request, "authorization") or str(getattr(request.getClientAddress(), "host", ""))
        refusal = self._rates.refuse(caller, len(messages), self._clock.seconds())
        if refusal is None and self._gathered.is_full:
            advice = "send it again later; nothing was stored"
            refusal = Refusal(503, "busy", "too many messages wait for the store", "", advice, 1.0)
        if refusal is not None:
            return self._answer_refusal(request, refusal)
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def stored(_: None) -> None:
            if not gone:
                write_answer(request, status, kind, body, {})

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, Ap4rError):
                _log.failure("the intake met a defect", failure)
            if not gone:
                assert isinstance(failure.value, Exception)
                self._answer_refusal(request, refusal_of(failure.value))

        self._gathered.add(Put(messages[0].id, tuple(messages), each=True)).addCallbacks(stored, failed)
        return None

    def _answer_refusal(self, request: Request, refusal: Refusal) -> None:
        write_answer(request, refusal.status, _JSON, refusal.body, refusal.headers)


class Messages(Resource):
    """/messages"""

    isLeaf = True

    def __init__(self, door: Door) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._door = door

    def render(self, request: Any) -> int:
        """Take messages as JSON."""
        if request.postpath:
            return not_found(request)
        if request.method != b"POST":
            return not_allowed(request, "POST")
        self._door.answer(request, lambda: self._door.take_json(request))
        return NOT_DONE_YET


class Queues(Resource):
    """/queues/NAME"""

    isLeaf = True

    def __init__(self, door: Door) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._door = door

    def render(self, request: Any) -> int:
        """Take a message as AP4R did."""
        name = "/".join(unquote(part.decode("latin-1"), errors="replace") for part in request.postpath)
        if not name:
            return not_found(request)
        if request.method != b"POST":
            return not_allowed(request, "POST")
        self._door.answer(request, lambda: self._door.take_raw(request, name))
        return NOT_DONE_YET


class OpenApi(Resource):
    """/openapi.json"""

    isLeaf = True

    def __init__(self, document: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._document = document

    def render(self, request: Any) -> int:
        """Give the document."""
        if request.method not in (b"GET", b"HEAD"):
            return not_allowed(request, "GET, HEAD")
        write_answer(request, 200, _JSON, self._document, {})
        return NOT_DONE_YET


class Nowhere(Resource):
    """Every other path."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Give the same for what is below."""
        return self

    def render(self, request: Any) -> int:
        """Say that nothing is here."""
        return not_found(request)


def header(request: Request, name: str) -> str | None:
    """Give the header of that name as text."""
    value: str | None = request.getHeader(name)
    return value


def _unreadable(request: Request) -> Refusal | None:
    """Give why a request cannot be read as one thing only, by its headers."""
    for name in _ONCE:
        if len(request.requestHeaders.getRawHeaders(name, [])) > 1:
            return Refusal(400, "repeated_header", f"the header {name} stands there twice", name, "send it once")
    coding = header(request, "content-encoding") or ""
    if coding.strip().lower() not in ("", "identity"):
        problem = f"bodies with Content-Encoding are not taken ({shortened(coding, 80)})"
        return Refusal(415, "wrong_type", problem, "Content-Encoding", "send the body as it is")
    return None


def not_found(request: Request) -> int:
    """Answer 404."""
    refusal = Refusal(404, "not_found", "nothing is at this path", "", "GET /openapi.json tells what there is")
    write_answer(request, 404, _JSON, refusal.body, {})
    return NOT_DONE_YET


def not_allowed(request: Request, allowed: str) -> int:
    """Answer 405."""
    refusal = Refusal(405, "wrong_method", "this path does not take that method", "", f"use {allowed}")
    write_answer(request, 405, _JSON, refusal.body, {"Allow": allowed})
    return NOT_DONE_YET


def write_answer(request: Request, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
    """Answer and be done with a request."""
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())
    for name, value in {"Content-Type": kind, "Cache-Control": "no-store", **headers}.items():
        request.setHeader(name, value)
    request.setHeader(b"content-length", b"%d" % len(body))
    if request.method != b"HEAD":
        request.write(body)
    request.finish()

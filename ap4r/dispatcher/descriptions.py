"""Writing the messages that need a description first (SOAP with a WSDL): fetched by our own client, read in a thread.

A description is kept for a while; if it cannot be had anew, the old one serves on. Nothing here blocks the reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ap4r.dispatcher.request import USER_AGENT, Request, host_of
from ap4r.dispatcher.store_thread import Workers
from ap4r.dispatcher.transport import Transport
from ap4r.errors import Ap4rError, PayloadNotEncodable
from ap4r.exchange import Answer, Exchange, Fault, Reason
from ap4r.message import Message
from ap4r.protocols.protocol import Described, DocumentMissing
from ap4r.target import Target, parse_target

KEPT_SECONDS = 300.0
FETCH_SECONDS = 30.0
MAX_KEPT = 100
MAX_DOCUMENTS = 64  #: that one description may consist of
MAX_BYTES = 8 * 1024 * 1024  #: of these together

#: Gives the whole body of a GET, or why there is none.
Fetch = Callable[[str], "Deferred[bytes | Fault]"]


@dataclass(frozen=True, slots=True)
class _Kept:
    compiled: Any
    until: float


class Descriptions:
    """Brings messages into the form in which they are sent.

    :param fetch: gets a document; it guards where it may come from.
    :param url_of: gives the URL of a target, its server chosen; None when there is none.
    """

    def __init__(
        self, clock: IReactorTime, workers: Workers, fetch: Fetch, url_of: Callable[[Target], str | None]
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._fetch = fetch
        self._url_of = url_of
        self._started = False
        self._kept: dict[tuple[type, str], _Kept] = {}
        self._waiting: dict[tuple[type, str], list[Deferred[Any]]] = {}

    def stop(self) -> None:
        """Let the thread end."""
        if self._started:
            self._started = False
            self._workers.stop()

    def prepare(
        self,
        protocol: Described,
        source: str,
        message: Message,
        within_seconds: float,
        done: Callable[[Message | Fault], None],
    ) -> Deferred[None]:
        """Write `message` after its description; `done` is given it, or why it cannot be sent. Cancelling stops it.

        :param source: the target, as text, whose document describes the message.
        """
        writing: Deferred[Message | Fault] = Deferred.fromCoroutine(self._write(protocol, source, message))
        writing.addTimeout(max(0.0, within_seconds), self._clock, onTimeoutCancel=partial(_too_late, source))
        writing.addErrback(_stopped)
        return writing.addCallback(done)

    async def _write(self, protocol: Described, source: str, message: Message) -> Message | Fault:
        compiled = await self._compiled(protocol, source)
        if isinstance(compiled, Fault):
            return compiled
        try:
            written: Message = await self._in_thread(partial(protocol.complete, message, compiled))
        except PayloadNotEncodable as error:
            return Fault(Reason.NOT_ENCODABLE, False, str(error))
        return written

    async def _compiled(self, protocol: Described, source: str) -> Any:
        key = (type(protocol), source)
        kept = self._kept.get(key)
        if kept is not None and self._clock.seconds() < kept.until:
            return kept.compiled
        if key not in self._waiting:
            self._waiting[key] = []
            # Its own: whoever waits may give up, and the others wait on.
            Deferred.fromCoroutine(self._compile(protocol, source)).addBoth(self._tell, key)
        answer: Deferred[Any] = Deferred()
        if key not in self._waiting:
            kept = self._kept.get(key)
            return Fault(Reason.NO_DESCRIPTION, False, "it was not kept") if kept is None else kept.compiled
        self._waiting[key].append(answer)
        return await answer

    def _tell(self, result: Any, key: tuple[type, str]) -> None:
        if isinstance(result, Failure):
            result = Fault(Reason.NO_DESCRIPTION, False, f"{key[1]}: {result.getErrorMessage()}")
        waiting = self._waiting.pop(key)
        kept = self._kept.get(key)
        if isinstance(result, Fault) and kept is not None:
            result = kept.compiled
        if not isinstance(result, Fault):
            while len(self._kept) >= MAX_KEPT and key not in self._kept:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = _Kept(result, self._clock.seconds() + KEPT_SECONDS)
        for answer in waiting:
            if not answer.called:
                answer.callback(result)

    async def _compile(self, protocol: Described, source: str) -> Any:
        url = self._url_of(Target.from_text(source))
        if url is None:
            return Fault(Reason.NO_DESCRIPTION, False, f"{source}: no server is there for it")
        documents: dict[str, bytes] = {}
        while True:
            try:
                return await self._in_thread(partial(protocol.compile, url, dict(documents)))
            except DocumentMissing as missing:
                wanted = missing.url
            except ImportError as error:
                return Fault(Reason.NO_DESCRIPTION, False, f"{error}: pip install 'ap4r[soap]'")
            except Exception as error:  # noqa: BLE001 - whatever its reader says about a document of others
                return Fault(Reason.NO_DESCRIPTION, False, f"{url} is of no use: {type(error).__name__}: {error}")
            if wanted in documents or len(documents) >= MAX_DOCUMENTS:
                return Fault(Reason.NO_DESCRIPTION, False, f"{url} refers to too many documents")
            body = await self._got(wanted)
            if isinstance(body, Fault):
                return body
            documents[wanted] = body
            if sum(map(len, documents.values())) > MAX_BYTES:
                return Fault(Reason.NO_DESCRIPTION, False, f"{url} and what it refers to is too large")

    async def _got(self, url: str) -> bytes | Fault:
        try:
            target, _ = parse_target(url)
        except Ap4rError as error:
            return Fault(Reason.NO_DESCRIPTION, False, str(error))
        if target.upstream is not None:
            return Fault(Reason.NO_DESCRIPTION, False, f"{url} is no http or https URL")
        return await self._fetch(target.url)

    def _in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        if not self._started:
            self._started = True
            self._workers.start()
        answer: Deferred[Any] = Deferred()

        def done(succeeded: bool, result: Any) -> None:
            if not answer.called:
                (answer.callback if succeeded else answer.errback)(result)

        self._workers.run(call, done)
        return answer


def fetch_with(transport: Transport) -> Fetch:
    """Give what gets documents with the client that makes the calls, so that the same places are refused."""

    def fetch(url: str) -> Deferred[bytes | Fault]:
        answer: Deferred[bytes | Fault] = Deferred()
        bodies: list[bytes] = []

        def ended(exchange: Exchange) -> None:
            if isinstance(exchange, Fault):
                answer.callback(Fault(Reason.NO_DESCRIPTION, False, f"{url}: {exchange.reason}: {exchange.detail}"))
            elif not 200 <= exchange.status < 300:
                answer.callback(Fault(Reason.NO_DESCRIPTION, False, f"{url} is answered {exchange.status}"))
            else:
                answer.callback(bodies[0])

        def read(whole: Answer) -> None:
            bodies.append(whole.body)

        headers = {b"host": [host_of(url)], b"user-agent": [USER_AGENT], b"accept": [b"text/xml, application/xml, */*"]}
        transport.begin(Request("GET", url, headers, b""), FETCH_SECONDS, ended, may_write=lambda: True, read=read)
        return answer

    return fetch


def _too_late(source: str, result: object, seconds: float) -> Fault:
    return Fault(Reason.NO_DESCRIPTION, False, f"{source} did not come in time")


def _stopped(failure: Failure) -> Fault:
    if failure.check(CancelledError):
        return Fault(Reason.STOPPED, False)
    return Fault(Reason.NO_DESCRIPTION, False, failure.getErrorMessage())

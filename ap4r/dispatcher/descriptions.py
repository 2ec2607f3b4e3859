"""Writing the messages that need a description first (SOAP with a WSDL): fetched by our own client, read in a thread.

A description is kept for a while, and had anew sooner when a message does not fit it; if it cannot be had, the old one
serves on. Nothing here blocks the reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ap4r.dispatcher.documents import Documents, Source, missing
from ap4r.dispatcher.store_thread import Workers
from ap4r.errors import PayloadNotEncodable
from ap4r.exchange import Fault, Reason
from ap4r.message import Message
from ap4r.protocols.protocol import Described, DocumentMissing
from ap4r.target import Target

KEPT_SECONDS = 300.0
FRESH_SECONDS = 10.0  #: the age up to which a description is not had anew for a message that does not fit it
MAX_KEPT = 100
MAX_SERVERS = 3  #: of an upstream that are asked for one description
MAX_DOCUMENTS = 64  #: that one description may consist of
MAX_BYTES = 8 * 1024 * 1024  #: of these together

#: The protocol, the description as the message names it, and the upstream that it is fetched from.
_Key = tuple[type, str, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    compiled: Any
    since: float


class Descriptions:
    """Brings messages into the form in which they are sent."""

    def __init__(self, clock: IReactorTime, workers: Workers, documents: Documents) -> None:
        self._clock = clock
        self._workers = workers
        self._documents = documents
        self._started = False
        self._kept: dict[_Key, _Kept] = {}
        self._waiting: dict[_Key, list[Deferred[Any]]] = {}

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
        owner = self._documents.owner(Target.from_text(source), message.target)
        compiled = await self._compiled(protocol, source, owner, KEPT_SECONDS)
        if isinstance(compiled, Fault):
            return compiled
        written = await self._completed(protocol, message, compiled)
        if isinstance(written, Fault):
            newer = await self._compiled(protocol, source, owner, FRESH_SECONDS)
            if newer is not compiled and not isinstance(newer, Fault):
                written = await self._completed(protocol, message, newer)
        return written

    async def _completed(self, protocol: Described, message: Message, compiled: Any) -> Message | Fault:
        try:
            written: Message = await self._in_thread(partial(protocol.complete, message, compiled))
        except PayloadNotEncodable as error:
            return Fault(Reason.NOT_ENCODABLE, False, str(error))
        return written

    async def _compiled(self, protocol: Described, source: str, owner: str, kept_seconds: float) -> Any:
        key = (type(protocol), source, owner)
        kept = self._kept.get(key)
        if kept is not None and self._clock.seconds() < kept.since + kept_seconds:
            return kept.compiled
        answer: Deferred[Any] = Deferred()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(answer)
        if len(waiting) == 1:
            # Its own: whoever waits may give up, and the others wait on.
            Deferred.fromCoroutine(self._compile(protocol, source, owner)).addBoth(self._tell, key)
        return await answer

    def _tell(self, result: Any, key: _Key) -> None:
        if isinstance(result, Failure):
            result = missing(f"{key[1]}: {result.getErrorMessage()}")
        waiting = self._waiting.pop(key)
        kept = self._kept.get(key)
        if isinstance(result, Fault) and kept is not None:
            result = kept.compiled
        if not isinstance(result, Fault):
            while len(self._kept) >= MAX_KEPT and key not in self._kept:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = _Kept(result, self._clock.seconds())
        for answer in waiting:
            if not answer.called:
                answer.callback(result)

    async def _compile(self, protocol: Described, source: str, owner: str) -> Any:
        document, tried = Target.from_text(source), list[str]()
        fault = missing(f"{source}: no server is there for it")
        while len(tried) < MAX_SERVERS:
            found = self._documents.source(document, owner, tried)
            if found is None:
                break
            compiled = await self._compile_at(protocol, found)
            if not isinstance(compiled, Fault):
                return compiled
            fault = compiled
            if not found.server:
                break
            tried.append(found.server)
        return fault

    async def _compile_at(self, protocol: Described, source: Source) -> Any:
        url = source.url
        documents: dict[str, bytes] = {}
        while True:
            try:
                return await self._in_thread(partial(protocol.compile, url, dict(documents)))
            except DocumentMissing as absent:
                wanted = absent.url
            except ImportError as error:
                return missing(f"{error}: pip install 'ap4r[soap]'")
            except Exception as error:  # noqa: BLE001 - whatever its reader says about a document of others
                return missing(f"{url} is of no use: {type(error).__name__}: {error}")
            if wanted in documents or len(documents) >= MAX_DOCUMENTS:
                return missing(f"{url} refers to too many documents")
            body = await source.fetch(wanted)
            if isinstance(body, Fault):
                return body
            documents[wanted] = body
            if sum(map(len, documents.values())) > MAX_BYTES:
                return missing(f"{url} and what it refers to is too large")

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


def _too_late(source: str, result: object, seconds: float) -> Fault:
    return missing(f"{source} did not come in time")


def _stopped(failure: Failure) -> Fault:
    if failure.check(CancelledError):
        return Fault(Reason.STOPPED, False)
    return missing(failure.getErrorMessage())

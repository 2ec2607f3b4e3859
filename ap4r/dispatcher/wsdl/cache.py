"""Writes the messages that need a description first (SOAP with a WSDL), which our own client fetches.

A description is cached for a while, and fetched again sooner when a message does not fit it; if that fails, the old one
is still used. It is parsed and used in a process with limits of time and memory, so nothing here blocks the reactor.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ap4r.dispatcher.compute.child import NotComputed
from ap4r.dispatcher.compute.process_pool import Computing
from ap4r.dispatcher.delivery.response_reading import AnswerReading
from ap4r.dispatcher.wsdl.fetch import DocumentFetcher, Source, missing, useless
from ap4r.dispatcher.wsdl.soap_writer import (
    Description,
    Forgotten,
    Needs,
    Readable,
    Unusable,
    Unwritable,
    read_description,
    write_message,
)
from ap4r.message.message import Message
from ap4r.message.target import Target
from ap4r.outcome.response import NoResponse, Reason

KEPT_SECONDS = 300.0
FRESH_SECONDS = 10.0  #: the age up to which a description is not fetched again for a message that does not fit it
MAX_KEPT = 100
MAX_SERVERS = 3  #: of an upstream that are tried for one description
MAX_DOCUMENTS = 64  #: the most in one description
MAX_BYTES = 8 * 1024 * 1024  #: the most in one description
MAX_KEPT_BYTES = 64 * 1024 * 1024  #: the most in all descriptions
#: How long a description that used up its whole time is not parsed again.
COSTLY_SECONDS = 60.0

#: The protocol, the description as the message names it, and the upstream from which it is fetched.
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class DescribingRules:
    """How descriptions are parsed: the settings wsdl_seconds, wsdl_dtd and [wsse.NAME], secrets included."""

    seconds: float = 10.0
    allow_dtd: bool = False
    securities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class _Kept:
    description: Description
    since: float

    @property
    def size(self) -> int:
        return sum(map(len, self.description.documents.values()))


class DescriptionCache:
    """Brings messages into the form in which they are sent."""

    def __init__(
        self,
        clock: IReactorTime,
        computing: Computing,
        documents: DocumentFetcher,
        rules: DescribingRules,
        answers: AnswerReading,
    ) -> None:
        self._clock = clock
        self._computing = computing
        self._documents = documents
        self.rules = rules
        self.answers = answers  #: reads the answers
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._costly: OrderedDict[_Key, tuple[float, NoResponse]] = OrderedDict()
        self._waiting: dict[_Key, list[Deferred[Any]]] = {}

    def stop(self) -> None:
        """Stop the reading of descriptions."""
        self._computing.stop()
        self.answers.stop()

    def prepare(
        self,
        protocol: str,
        source: str,
        message: Message,
        within_seconds: float,
        done: Callable[[Message | NoResponse], None],
    ) -> Deferred[None]:
        """Write `message` by its description; `done` gets it, or why it cannot be sent. Cancelling stops it.

        :param protocol: the name of a protocol that is `Described`.
        :param source: the target, as text, whose document describes the message.
        """
        writing: Deferred[Message | NoResponse] = Deferred.fromCoroutine(self._write(protocol, source, message))
        writing.addTimeout(max(0.0, within_seconds), self._clock, onTimeoutCancel=partial(_too_late, source))
        writing.addErrback(_stopped)
        return writing.addCallback(done)

    async def _write(self, protocol: str, source: str, message: Message) -> Message | NoResponse:
        owner = self._documents.owner(Target.from_text(source), message.target)
        key = (protocol, source, owner)
        description = await self._description(key, KEPT_SECONDS)
        if isinstance(description, NoResponse):
            return description
        written = await self._written(key, description, message)
        if isinstance(written, NoResponse) and written.reason is Reason.NOT_ENCODABLE:
            newer = await self._description(key, FRESH_SECONDS)
            if newer is not description and not isinstance(newer, NoResponse):
                written = await self._written(key, newer, message)
        return written

    async def _written(self, key: _Key, description: Description, message: Message) -> Message | NoResponse:
        rules = self.rules
        securities = rules.securities if b'"wsse"' in message.body else {}
        ask = partial(write_message, description.protocol, description.digest, description.allow_dtd)
        try:
            written = await self._computing.run(key, partial(ask, None, message, securities), rules.seconds)
            if isinstance(written, Forgotten):
                written = await self._computing.run(key, partial(ask, description, message, securities), rules.seconds)
        except NotComputed as error:
            return missing(f"the message could not be written by {key[1]}: {error}")
        if isinstance(written, Unwritable):
            return NoResponse(Reason.NOT_ENCODABLE, False, written.problem)
        if isinstance(written, Message):
            return written
        return missing(written.problem if isinstance(written, Unusable) else "it was forgotten twice")

    async def _description(self, key: _Key, kept_seconds: float) -> Description | NoResponse:
        kept, now = self._kept.get(key), self._clock.seconds()
        if kept is not None and now < kept.since + kept_seconds:
            return kept.description
        costly = self._costly.get(key)
        if costly is not None and now < costly[0]:
            return costly[1]
        answer: Deferred[Any] = Deferred()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(answer)
        if len(waiting) == 1:
            # A Deferred of its own: one waiting message may be cancelled while the others still wait.
            Deferred.fromCoroutine(self._fetch(key)).addBoth(self._tell, key)
        found: Description | NoResponse = await answer
        return found

    def _tell(self, result: Any, key: _Key) -> None:
        if isinstance(result, Failure):
            result = missing(f"{key[1]}: {result.getErrorMessage()}")
        waiting = self._waiting.pop(key)
        kept = self._kept.get(key)
        if isinstance(result, NoResponse) and kept is not None:
            result = kept.description
        if not isinstance(result, NoResponse):
            self._keep(key, result)
        for answer in waiting:
            if not answer.called:
                answer.callback(result)

    async def _fetch(self, key: _Key) -> Description | NoResponse:
        _, source, owner = key
        document, tried = Target.from_text(source), list[str]()
        fault = missing(f"{source}: no server is available")
        while len(tried) < MAX_SERVERS:
            self._costly.pop(key, None)
            found = self._documents.source(document, owner, tried)
            if found is None:
                break
            fetched = await self._fetch_from(key, found)
            if not isinstance(fetched, NoResponse):
                return fetched
            fault = fetched
            if not found.server or key in self._costly:
                break
            tried.append(found.server)
        return fault

    async def _fetch_from(self, key: _Key, source: Source) -> Description | NoResponse:
        url, spent_seconds = source.url, 0.0
        documents: dict[str, bytes] = {}
        while True:
            description = _description_of(key[0], url, documents, self.rules.allow_dtd)
            begun_at = self._clock.seconds()
            try:
                left_seconds = max(1.0, self.rules.seconds - spent_seconds)
                read = await self._computing.run(key, partial(read_description, description), left_seconds)
            except NotComputed as error:
                fault = missing(f"{url} cannot be read: {error} (setting wsdl_seconds)")
                self._costly[key] = (self._clock.seconds() + COSTLY_SECONDS, fault)
                while len(self._costly) > MAX_KEPT:
                    self._costly.popitem(last=False)
                return fault
            spent_seconds += self._clock.seconds() - begun_at
            if isinstance(read, Readable):
                return description
            if isinstance(read, Unusable):
                reason = Reason.BAD_DESCRIPTION if read.for_good else Reason.NO_DESCRIPTION
                return NoResponse(reason, False, read.problem)
            assert isinstance(read, Needs)
            wanted = read.url
            if wanted in documents or len(documents) >= MAX_DOCUMENTS:
                return useless(f"{url} refers to too many documents")
            body = await source.fetch(wanted)
            if isinstance(body, NoResponse):
                return body
            documents[wanted] = body
            if sum(map(len, documents.values())) > MAX_BYTES:
                return useless(f"{url} and what it refers to is too large")

    def _keep(self, key: _Key, description: Description) -> None:
        replaced = self._kept.pop(key, None)
        self._kept_bytes -= replaced.size if replaced else 0
        kept = self._kept[key] = _Kept(description, self._clock.seconds())
        self._kept_bytes += kept.size
        while len(self._kept) > MAX_KEPT or (self._kept_bytes > MAX_KEPT_BYTES and len(self._kept) > 1):
            self._kept_bytes -= self._kept.popitem(last=False)[1].size


def _description_of(protocol: str, url: str, documents: Mapping[str, bytes], allow_dtd: bool) -> Description:
    digest = hashlib.blake2b(url.encode(), digest_size=16)
    for one, body in sorted(documents.items()):
        digest.update(b"%d:%d:" % (len(one), len(body)) + one.encode() + body)
    return Description(protocol, url, digest.digest(), dict(documents), allow_dtd)


def _too_late(source: str, result: object, seconds: float) -> NoResponse:
    return missing(f"{source} did not come in time")


def _stopped(failure: Failure) -> NoResponse:
    if failure.check(CancelledError):
        return NoResponse(Reason.STOPPED, False)
    return missing(failure.getErrorMessage())

"""One message in its protocol: written by its description if it needs one, and its answer interpreted.

HTTP adds nothing, and costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from ap4r.dispatcher.delivery.response_reading import AnswerReading
from ap4r.dispatcher.http_client.exchange import AnswerReader
from ap4r.dispatcher.wsdl.cache import DescriptionCache
from ap4r.errors import OptionRefused
from ap4r.message.message import Message
from ap4r.outcome.outcome import NoResponse, Reason
from ap4r.protocols.base import CallProtocol, Described
from ap4r.protocols.registry import find_protocol
from ap4r.storage.store import Lease


class ProtocolStep:
    """The message that is sent for a lease. `sent` is the lease with that message."""

    __slots__ = ("_answers", "_protocol", "_writing", "sent")

    def __init__(self, lease: Lease) -> None:
        self.sent = lease
        self._protocol: CallProtocol | None = None
        self._answers: AnswerReading | None = None
        self._writing: Deferred[None] | None = None

    def begin(
        self, descriptions: DescriptionCache, within_seconds: float, done: Callable[[NoResponse | None, bool], None]
    ) -> None:
        """Write the message; call `done` with the reason why it cannot be sent, or None, and whether that took time."""
        message = self.sent.message
        if message.protocol == "http":
            done(None, False)
            return
        try:
            protocol = self._protocol = find_protocol(message.protocol)
            self._answers = descriptions.answers
        except OptionRefused as error:
            done(NoResponse(Reason.BAD_TARGET, False, str(error)), False)
            return
        source = protocol.description_of(message) if isinstance(protocol, Described) else None
        if source is None or not isinstance(protocol, Described):
            done(None, False)
            return

        def written(result: Message | NoResponse) -> None:
            self._writing = None
            if isinstance(result, Message):
                self.sent = self.sent._replace(message=result)
            done(result if isinstance(result, NoResponse) else None, True)

        writing = descriptions.prepare(message.protocol, source, message, within_seconds, written)
        if not writing.called:
            self._writing = writing

    def cut(self) -> None:
        """Stop writing, if it is being written."""
        if self._writing is not None:
            self._writing.cancel()

    @property
    def reader(self) -> AnswerReader | None:
        """Return what reads the answer; None when its status alone decides."""
        if self._protocol is None or self._answers is None:
            return None
        return self._answers.reader(self._protocol, self.sent.message)

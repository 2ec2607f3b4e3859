"""The short way of the plainest requests from a socket to a put: `POST /messages`, whole in one piece, nothing odd.

Reading a request of any kind takes Twisted longer than storing a message. Most of what programs send is of one kind,
and that is recognised here; whatever else comes, Twisted reads, and with it the rest of that connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ap4r.dispatcher.arrival import Arrivals, ArrivingSite, answer_bytes
from ap4r.dispatcher.refusal import Refusal
from ap4r.dispatcher.strict_channel import StrictChannel
from ap4r.dispatcher.unread import has_unread

_POST = b"POST /messages HTTP/1.1\r\n"
_MOST_HEAD_BYTES = 8 * 1024
#: Each header on a line of its own, its name a token, its value without a control character (RFC 9110, section 5).
_HEADERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
# The blanks around a value are no part of this: to look for them here takes time that grows with their square.
_HEADER = re.compile(rb"([^:\r\n]+):([^\r\n]*)\r\n")
#: What says how to read the request or what is to become of the connection: not to be judged here.
_ODD = frozenset({b"connection", b"cookie", b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_LENGTH = re.compile(rb"[0-9]{1,9}")

_ADVICE = "send a request line, headers as `name: value`, a body that is as long as they say; nothing was stored"

Fields = Mapping[bytes, Sequence[bytes]]


def read_plain(data: bytes) -> tuple[Fields, bytes] | None:
    """Give headers by lower-case name, and the body, of a plain request that `data` is; None for everything else. Pure.

    What it accepts can be read in one way only.
    """
    if not data.startswith(_POST):
        return None
    found = _HEADERS.match(data, len(_POST), len(_POST) + _MOST_HEAD_BYTES)
    if found is None:
        return None
    fields: dict[bytes, tuple[bytes]] = {}
    for name, value in _HEADER.findall(found[0]):
        lower, value = name.lower(), value.strip(b" \t")
        if lower in fields or (lower in _ODD and (lower, value.lower()) != (b"connection", b"keep-alive")):
            return None
        fields[lower] = (value,)
    body = data[found.end() :]
    length = fields.get(b"content-length", (b"",))[0]
    if not body or not _LENGTH.fullmatch(length) or int(length) != len(body):
        return None
    return fields, body


class PlainRequest:
    """A request that came the short way. To the door it is like an `ArrivingRequest`."""

    __slots__ = ("_channel", "admitted", "body", "fields", "is_gone")

    def __init__(self, channel: ArrivingChannel, fields: Fields, body: bytes) -> None:
        self._channel = channel
        self.fields = fields
        self.body = body
        self.admitted = False
        self.is_gone = False

    def field(self, name: bytes) -> str | None:
        """Give the header of that name as text."""
        values = self.fields.get(name)
        return values[0].decode() if values else None

    def getClientAddress(self) -> Any:
        """Tell where it comes from."""
        return self._channel.transport.getPeer()

    def respond(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer, and let the next one come."""
        self._channel.answered(answer_bytes(b"HTTP/1.1", status, kind, headers, body))


class ArrivingChannel(StrictChannel):
    """A connection of the listening address. `site` has what takes plain requests."""

    transport: Any
    site: Any

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._is_plain = True  # so far
        self._request: PlainRequest | None = None  # that is not answered yet
        self._behind: list[bytes] = []  # what came after it
        self._waits = True  # for the first byte of a request
        self._was_spared = False

    @property
    def is_busy(self) -> bool:
        """Whether a request was let in and is not answered yet."""
        return self._request is not None or any(request.admitted for request in self.requests)

    def connectionMade(self) -> None:
        """Begin, where there are not too many."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.site.arrivals.connections.opened(self)

    def drop(self) -> None:
        """Close the connection at once."""
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take the short way, or from the first other request on Twisted's."""
        if self._request is not None:
            # The next one waits for its turn, and the sender for room.
            self._behind.append(data)
            self.transport.pauseProducing()
            return
        if self._is_plain:
            arrivals: Arrivals = self.site.arrivals
            read = read_plain(data) if self.site.take_plain and arrivals.has_room(len(data)) else None
            if read is not None:
                super().resetTimeout()  # type: ignore[no-untyped-call]
                self._request = PlainRequest(self, *read)
                arrivals.held_bytes += len(self._request.body)
                take: Callable[[PlainRequest], None] = self.site.take_plain
                take(self._request)
                return
            self._is_plain = False
        super().dataReceived(data)

    def answered(self, answer: bytes) -> None:
        """Send the answer to the plain request, and take what came behind it."""
        self._forget()
        self.site.arrivals.connections.answered(self)
        self.transport.write(answer)
        if self._behind:
            data, self._behind = b"".join(self._behind), []
            if not self._waitingForTransport:  # who does not read its answers may not send on
                self.transport.resumeProducing()
            self.dataReceived(data)

    def refusal_bytes(self, status: int, problem: str) -> bytes:
        """Write the answer to what is no request, as the intake's answers are written."""
        body = Refusal(400, "malformed", problem, "", _ADVICE).body
        return answer_bytes(b"HTTP/1.1", 400, "application/json", {"Connection": "close"}, body)

    def resetTimeout(self) -> None:
        """Begin to measure a request at its first byte. Those that follow do not begin it again."""
        if self._waits:
            self._waits = False
            self.setTimeout(self.site.arrivals.seconds())  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        """Wait for the next request."""
        self._waits, self._savedTimeOut = True, self.site.timeOut
        self.site.arrivals.connections.answered(self)
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        """Close a connection that is idle or whose request is late; not one that waits for an answer, or to be read."""
        if self._request is None and (self._was_spared or not has_unread(self)):
            if self.requests:
                self.requests[-1].late()
            else:
                self.drop()
        else:
            # Once, for a standstill of ours: what stays unread belongs to a sender that does not read its answers.
            self._was_spared = self._request is None
            self.setTimeout(self.timeOut)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go."""
        self.site.arrivals.connections.closed(self)
        if self._request is not None:
            self._request.is_gone = True
            self._forget()
        super().connectionLost(reason)

    def _forget(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            self.site.arrivals.held_bytes -= len(request.body)


class PlainSite(ArrivingSite):
    """A site whose plain requests go straight to what takes them."""

    protocol = ArrivingChannel  # type: ignore[assignment]

    def __init__(self, root: Any, arrivals: Arrivals, take_plain: Callable[[PlainRequest], None] | None) -> None:
        super().__init__(root, arrivals)
        self.take_plain = take_plain

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 alone where a listener speaks TLS: requests are read by it only."""
        return [b"http/1.1"]

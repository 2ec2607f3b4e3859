"""HTTP/1 requests that are unambiguous: requests that two servers could read differently are refused with 400.

Twisted's own channel accepts folded headers, `Transfer-Encoding: identity` and chunks of HTTP/1.0. A proxy in front may
read those otherwise, and then see the end of a request elsewhere (RFC 9112, sections 5.2, 6.1 and 11.2).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.web.http import HTTPChannel

from ap4r.dispatcher.http_client.unread_bytes import reader_of
from ap4r.dispatcher.http_server.chunked_body import ChunkedBody

_BLANKS = (b" ", b"\t")
_LENGTH_DIGITS = 18
#: What is read in one turn of the reactor of what may be headers and chunks: some milliseconds' worth at most.
FEW_BYTES = 16 * 1024
_MANY_BYTES = TCPConnection.bufferSize
_LF_ALONE = "a line ends with LF, without the CR before it"
#: What no header value may contain (RFC 9110, section 5.5).
_CONTROLS = bytes([*range(9), *range(10, 32), 127])


def reason_to_refuse_header(line: bytes, version: bytes) -> str:
    """Return why a header makes the request's end ambiguous; "" when it does not. Pure."""
    name, _, value = line.partition(b":")
    name, value = name.lower(), value.strip(b" \t")
    if value.translate(None, _CONTROLS) != value:
        return "a header has a control character in its value"
    if name == b"transfer-encoding":
        if value.lower() != b"chunked":
            return "the only Transfer-Encoding that is supported is chunked"
        if version != b"HTTP/1.1":
            return "Transfer-Encoding is not allowed in a request of HTTP/1.0"
    if name == b"content-length" and not value.isdigit():
        return "Content-Length is not a number"
    if name == b"content-length" and len(value) > _LENGTH_DIGITS:
        return f"Content-Length has more than {_LENGTH_DIGITS} digits, and no body is that long"
    return ""


class StrictChannel(HTTPChannel):
    """One connection. Its factory builds it directly, so it only supports HTTP/1."""

    paused: bool  # of LineReceiver: it reads no further request while this is set
    _refused = False
    _version = b"HTTP/1.1"
    _is_lost = False
    _goes_on_soon = False

    def refuse(self, status: int, problem: str) -> None:
        """Answer that this is not a request, and close the connection. Nothing more of it is read."""
        self._refused = True
        transport: Any = self.transport
        transport.write(self.refusal_bytes(status, problem))
        self.loseConnection()  # type: ignore[no-untyped-call]

    def refusal_bytes(self, status: int, problem: str) -> bytes:
        """Return the answer to bytes that are not a request."""
        body = f"{problem}\n".encode()
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\nContent-Type: text/plain\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def connectionMade(self) -> None:
        """Read in portions: nearly every request is here with the first, and none of them takes long."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._read_at_a_time(FEW_BYTES)

    def _read_at_a_time(self, count: int) -> None:
        reader = reader_of(self.transport)
        if reader is not None:
            reader.bufferSize = count

    @property
    def is_refused(self) -> bool:
        """Whether the connection was refused."""
        return self._refused

    def dataReceived(self, data: bytes) -> None:
        """Continue to read, unless the connection was refused."""
        if not self._refused:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
            # The rest here is a line without its end, which some clients write as LF alone.
            is_at_rest = self.line_mode and not self.paused and not self._busyReceiving
            if is_at_rest and b"\n" in self._buffer and not self._refused:
                self.refuse(400, _LF_ALONE)

    def requestDone(self, request: Any) -> None:
        """Continue with the next request, in the next turn of the reactor and when the client has room for its answer.

        A client that sends many requests at once and reads no answer occupies memory for one answer, not for all, and
        does not make others wait.
        """
        self._read_at_a_time(FEW_BYTES)
        has_more = bool(self._buffer) or any(self._dataBuffer)
        self.paused = self.paused or has_more
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if has_more and not self._is_lost:
            self._network().pauseProducing()
            self._go_on_soon()

    def resumeProducing(self) -> None:
        """Continue: the client has read what it was sent."""
        super().resumeProducing()  # type: ignore[no-untyped-call]
        if self.paused:
            self._go_on_soon()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Read nothing more."""
        self._is_lost = True
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _go_on_soon(self) -> None:
        if not self._goes_on_soon:
            self._goes_on_soon = True
            self.callLater(0, self._go_on)  # type: ignore[no-untyped-call]

    def _go_on(self) -> None:
        self._goes_on_soon = False
        if not self._is_lost and not self._waitingForTransport:
            self.paused = False
            self._network().resumeProducing()
            self.dataReceived(b"")

    def _network(self) -> Any:
        return self._networkProducer

    def lineReceived(self, line: bytes) -> None:
        """Read the request line or a header."""
        if self._refused:
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._refuse_size()
        elif b"\n" in line:
            self.refuse(400, _LF_ALONE)
        elif line[:1] in _BLANKS:
            self.refuse(400, "a header is folded over several lines")
        else:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long."""
        self._refuse_size()

    def headerReceived(self, line: bytes) -> bool:
        """Store a header, or refuse the request for it."""
        problem = reason_to_refuse_header(line, self._version)
        if self._receivedHeaderCount >= self.maxHeaders:
            self.refuse(431, f"the request has more than {self.maxHeaders} headers")
            return False
        if problem:
            self.refuse(400, problem)
            return False
        is_good: bool = super().headerReceived(line)  # type: ignore[no-untyped-call]
        return is_good

    def allHeadersReceived(self) -> None:
        """Go on to the body; one of a known length is taken as it is."""
        if self.length:
            self._read_at_a_time(_MANY_BYTES)
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        """Read chunks with a decoder of our own."""
        before = self._transferDecoder
        is_good: bool = super()._maybeChooseTransferDecoder(header, data)  # type: ignore[no-untyped-call]
        if is_good and self._transferDecoder is not before and self.length is None:
            request = self.requests[-1]
            self._transferDecoder: Any = ChunkedBody(
                request.handleContentChunk, self._finishRequestBody, self._refuse_chunks
            )
        return is_good

    def _refuse_chunks(self, problem: str) -> None:
        if not self._refused:
            self.refuse(400, problem)

    def allContentReceived(self) -> None:
        """Begin to answer, unless the connection was refused."""
        if not self._refused:
            super().allContentReceived()  # type: ignore[no-untyped-call]

    def _refuse_size(self) -> None:
        is_request_line = self._receivedHeaderSize == 0
        self.refuse(414 if is_request_line else 431, "the request line or the headers are too long")

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer that Twisted could not read a request, in the form of `refuse`."""
        if not self._refused:
            self.refuse(400, "the request cannot be read")

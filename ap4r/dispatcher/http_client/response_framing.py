"""A response as its bytes arrive: where its head ends, which bytes are its body, and when it is complete.

Pure. All bytes count: interim answers, head, sizes and extensions of chunks, body, trailers.
The kept part is bounded, and so is the work: each byte is read once.
"""

from __future__ import annotations

import re

from ap4r.dispatcher.http_client.response_head import Head, NotHttp, not_http, read_head

#: A longer head, with the interim ones before it, is not an answer but an attack or a defect.
MOST_HEAD_BYTES = 64 * 1024
MOST_HEAD_LINES = 1_000  #: because each costs more than its bytes
#: The count for a chunk beside its bytes: reading one takes as long as reading some hundred bytes of a body.
CHUNK_COST_BYTES = 32
_END_OF_HEAD = re.compile(rb"\n\r{0,4}\n")
_USUAL = (b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 5")
_BEGINNING = b"HTTP/"
_BLANKS = re.compile(rb"[\r\n]*")
_SIZE = re.compile(rb"([0-9A-Fa-f]*)((?:\r\n?)?)")
_MOST_SIZE_DIGITS = 16
#: How much is read in one turn of the reactor of bytes that may be lines, and of a body.
FEW_BYTES, MANY_BYTES = 4 * 1024, 64 * 1024
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class TooMuch(NotHttp):
    """An answer has more bytes than are read of one."""


# The place of the next byte in a response. Plain numbers, because they are compared several times for each answer.
_HEAD = 0
_BODY = 1  #: of known length
_REST = 2  #: a body that ends with its connection
_SIZE_LINE = 3  #: of a chunk
_EXTENSION = 4  #: of a chunk: the rest of the line after its size
_CHUNK = 5
_AFTER_CHUNK = 6  #: the line's end after a chunk
_TRAILERS = 7
_DONE = 8


class ResponseReader:
    """Reads one response.

    :param is_head: the request was HEAD.
    :param most_bytes: of its body; beside that, the head may have `MOST_HEAD_BYTES`, and the framing as many.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_is_head",
        "_is_odd",
        "_left",
        "_left_head",
        "_left_in_chunk",
        "_searched",
        "head",
        "may_stay",
    )

    def __init__(self, most_bytes: int, *, is_head: bool) -> None:
        self._is_head = is_head
        self._left = most_bytes + MOST_HEAD_BYTES
        self._left_head = MOST_HEAD_BYTES
        self._left_in_chunk = 0
        self._buffer = b""  # the bytes of an unfinished line
        self._searched = 0  # the place in the buffer from which the head's end may begin
        self._at = _HEAD
        self._is_odd = False  # the framing of the body; the headers' oddities are in the head
        self.head: Head | None = None
        self.may_stay = False  #: whether its connection may carry another request, once it is complete

    @property
    def is_complete(self) -> bool:
        """Whether the response has arrived completely."""
        return self._at == _DONE

    @property
    def readable_bytes(self) -> int:
        """The number of bytes to read next, so that handling them takes no more than a millisecond or two.

        4 KiB may be 680 chunks of a byte, or 150 interim answers; a body of known length is read in larger parts.
        """
        if self._at in (_BODY, _REST):
            return MANY_BYTES
        return min(max(self._left_in_chunk, FEW_BYTES), MANY_BYTES) if self._at == _CHUNK else FEW_BYTES

    def feed(self, data: bytes) -> bytes:
        """Read bytes; return those that belong to the body.

        :raises TooMuch: they exceed the limits of one answer.
        :raises NotHttp: they are not a response of HTTP/1, or its body cannot be read.
        """
        if self._at == _HEAD:
            found = None if self._buffer else _END_OF_HEAD.search(data)
            if found is not None and found.end() <= self._left_head and data.startswith(_USUAL):
                # Nearly every answer: its head in one part, and no interim one before it.
                self._is_odd = found.end() - found.start() != 3
                text, data = data[: found.start() + 1], data[found.end() :]
                self._take_head(text)
            else:
                data = self._read_head(data)
            if not data or self.head is None:
                return b""
        if self._at == _DONE:
            # Bytes after the response: the connection is out of sync.
            self.may_stay = False
            return b""
        if self._at == _BODY:
            return self._read_body(data)
        self._left -= len(data)
        if self._left < 0:
            raise TooMuch("the answer is too large")
        return data if self._at == _REST else self._read_chunks(self._buffer + data)

    def end(self, *, is_clean: bool) -> bool:
        """Record the end of the connection; return whether the response still counts as complete.

        This is the end of a body without a stated end (RFC 9112, 6.3). A head may end so too, after a complete line.

        :param is_clean: the server closed it.
        :raises NotHttp: as `feed` does.
        """
        if is_clean and self._at == _HEAD and self._buffer.endswith(b"\n"):
            self._take_head(self._buffer)
        return self._at == _REST

    def _read_head(self, data: bytes) -> bytes:
        """Read up to the end of the head, if that has arrived; return what follows it."""
        buffer = self._buffer + data if self._buffer else data
        while True:
            if buffer[:1] in (b"\r", b"\n"):
                blanks = _BLANKS.match(buffer)
                assert blanks is not None
                self._left_head -= blanks.end()
                self._is_odd = True
                buffer = buffer[blanks.end() :]
            found = _END_OF_HEAD.search(buffer, self._searched)
            if found is None or found.end() > self._left_head:
                if len(buffer) > self._left_head:
                    raise NotHttp(f"a head of more than {MOST_HEAD_BYTES:,} bytes")
                if not _BEGINNING.startswith(buffer[: len(_BEGINNING)].upper()):
                    raise not_http(buffer)
                self._searched = max(0, buffer.rfind(b"\n"))
                self._buffer = buffer
                return b""
            self._left_head -= found.end()
            self._searched = 0
            self._is_odd |= found[0] != b"\n\r\n"
            text, buffer = buffer[: found.start() + 1], buffer[found.end() :]
            self._take_head(text)
            if self.head is not None or not buffer:
                self._buffer = b""
                return buffer

    def _take_head(self, text: bytes) -> None:
        if text.count(b"\n") > MOST_HEAD_LINES:
            raise NotHttp(f"a head of more than {MOST_HEAD_LINES:,} lines")
        head = read_head(text, is_head=self._is_head)
        if head.status == 101:
            raise NotHttp("the server switches to another protocol")
        if head.status < 200:
            return  # an interim answer (RFC 9110, 15.2)
        self.head = head
        if head.is_chunked:
            self._at = _SIZE_LINE
        elif head.length is None:
            self._at = _REST
        else:
            self._left_in_chunk = head.length
            self._at = _BODY
            if head.length == 0:
                self._complete()
        if head.problem:
            raise NotHttp(head.problem)

    def _read_body(self, data: bytes) -> bytes:
        left = self._left_in_chunk
        body = data if len(data) <= left else data[:left]
        self._left_in_chunk = left - len(body)
        self._left -= len(body)
        if self._left < 0:
            raise TooMuch("the answer is too large")
        if not self._left_in_chunk:
            self._complete()
            self.may_stay &= len(body) == len(data)
        return body

    def _read_chunks(self, data: bytes) -> bytes:
        at, end = 0, len(data)
        if self._at == _SIZE_LINE and data.endswith(_LAST_CHUNK):
            # Most of these answers: one chunk, and the end.
            found = _SIZE.match(data)
            assert found is not None
            size, start = found[1], found.end()
            is_whole = 0 < len(size) <= _MOST_SIZE_DIGITS and start + int(size, 16) == end - len(_LAST_CHUNK)
            if is_whole and found[2] == b"\r\n":
                self._complete()
                return data[found.end() : -len(_LAST_CHUNK)]
        pieces: list[bytes] = []
        self._buffer = b""
        while at < end:
            if self._at == _CHUNK:
                piece = data[at : at + self._left_in_chunk]
                pieces.append(piece)
                at += len(piece)
                self._left_in_chunk -= len(piece)
                if not self._left_in_chunk:
                    self._at = _AFTER_CHUNK
            elif self._at == _SIZE_LINE:
                found = _SIZE.match(data, at)
                assert found is not None
                digits, line_end = found[1], found[2]
                if not digits or len(digits) > _MOST_SIZE_DIGITS:
                    raise NotHttp(f"a chunk begins without a size: {ascii(data[at : at + 20])[2:-1]}")
                if found.end() == end and line_end != b"\r\n":
                    self._buffer = data[at:]
                    break
                self._left_in_chunk, at = int(digits, 16), found.end()
                self._left -= CHUNK_COST_BYTES
                if self._left < 0:
                    raise TooMuch("the answer is too large, because it has too many chunks")
                if line_end == b"\r\n":
                    at = self._begin_chunk(at)
                else:
                    self._is_odd = True
                    self._at = _EXTENSION
            elif self._at == _EXTENSION:
                line_end_at = data.find(b"\n", at)
                if line_end_at < 0:
                    break
                at = self._begin_chunk(line_end_at + 1)
            elif self._at == _AFTER_CHUNK:
                if data.startswith(b"\r\n", at):
                    at += 2
                elif data.startswith(b"\n", at):
                    at += 1
                    self._is_odd = True
                elif end - at == 1 and data.endswith(b"\r"):
                    self._buffer = b"\r"
                    break
                else:
                    raise NotHttp(f"a chunk is longer than its size: {ascii(data[at : at + 20])[2:-1]}")
                self._at = _SIZE_LINE
            else:
                over = _END_OF_HEAD.search(data, at)
                if over is None:
                    # This could be the beginning of the end of the trailers.
                    self._buffer = data[max(at, end - 5) :]
                    break
                # Trailers are not used, and it does not matter whether others would parse them as this does.
                self._is_odd |= over[0] != b"\n\r\n" or over.start() > at
                self._complete()
                self.may_stay &= over.end() == end
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin_chunk(self, at: int) -> int:
        """Continue after the line of a chunk's size; return the place."""
        if self._left_in_chunk:
            self._at = _CHUNK
            return at
        # The end of this line is also the end of the line before the trailers.
        self._at = _TRAILERS
        return at - 1

    def _complete(self) -> None:
        assert self.head is not None
        self._at = _DONE
        self.may_stay = self.head.may_stay and not self._is_odd

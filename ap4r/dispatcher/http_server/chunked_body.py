"""The body of a request that comes in chunks (RFC 9112, 7.1), read several times faster than Twisted's decoder does it.

Pure. A sender chooses how many chunks a body has: 64 KiB may be ten thousand of a byte each, for which Twisted's takes
60 ms, in which no other connection is served.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MOST_TRAILER_BYTES = 64 * 1024
MOST_LINE_BYTES = 1024  #: of a chunk's size with its extensions
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_CR_LF = b"\r\n"
#: An LF without the CR before it, or a CR without the LF behind it; neither at the edge of what is searched.
_ODD_END = re.compile(rb"(?<=[^\r])\n|\r(?=[^\n])")

_SIZE = 0
_CHUNK = 1
_AFTER_CHUNK = 2
_TRAILERS = 3
_DONE = 4


class ChunkedBody:
    """Reads one body, as a transfer decoder of Twisted's `HTTPChannel`.

    :param take: is given what came of the body, the chunks of one call of `dataReceived` as one.
    :param finish: is called when the body is whole, with what came behind it.
    :param refuse: is called with why what came is no such body; nothing more is read then.
    """

    def __init__(
        self, take: Callable[[bytes], None], finish: Callable[[bytes], None], refuse: Callable[[str], None]
    ) -> None:
        self._take = take
        self._finish = finish
        self._refuse = refuse
        self._at = _SIZE
        self._left = 0  # of a chunk
        self._left_of_trailers = MOST_TRAILER_BYTES
        self._buffer = b""  # the beginning of what cannot be read without its end

    def dataReceived(self, data: bytes) -> None:
        """Read on."""
        data, self._buffer = self._buffer + data, b""
        pieces: list[bytes] = []
        at, problem = 0, ""
        if self._at in (_CHUNK, _AFTER_CHUNK):
            at, problem = self._end_chunk(data, pieces)
        if self._at == _SIZE:
            at, problem = self._read_chunks(data, at, pieces)
        if pieces:
            self._take(b"".join(pieces))
        if problem:
            self._at = _DONE
            self._refuse(problem)
        elif self._at == _TRAILERS:
            self._read_trailers(data[at:])

    def _end_chunk(self, data: bytes, pieces: list[bytes]) -> tuple[int, str]:
        """Read what is left of a chunk that has begun; return where it ends, and what is wrong."""
        at = min(self._left, len(data))
        pieces.append(data[:at])
        self._left -= at
        if self._left:
            return at, ""
        self._at = _AFTER_CHUNK
        end = data[at : at + 2]
        if end == _CR_LF:
            self._at = _SIZE
            return at + 2, ""
        self._buffer = end
        return at, "" if _CR_LF.startswith(end) else "a chunk is longer than its size"

    def _read_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> tuple[int, str]:
        """Read chunks up to one that has not come whole; return where the trailers begin, and what is wrong."""
        end = len(data)
        while at < end:
            line = _SIZE_LINE.match(data, at)
            if line is None or line.end() - at > MOST_LINE_BYTES:
                self._buffer = data[at:]
                is_whole = _CR_LF in self._buffer[: MOST_LINE_BYTES + 2]
                return at, "a chunk has no size" if is_whole or end - at > MOST_LINE_BYTES else ""
            size, start = int(line[1], 16), line.end()
            if not size:
                self._at = _TRAILERS
                # The end of this line is the end of the line before the trailers too.
                return start - 2, ""
            at = start + size
            if not data.startswith(_CR_LF, at):
                self._at, self._left = _CHUNK, size
                rest, problem = self._end_chunk(data[start:], pieces)
                return start + rest, problem
            pieces.append(data[start:at])
            at += 2
        return at, ""

    def _read_trailers(self, data: bytes) -> None:
        """Read up to the end of the trailers, which mean nothing here."""
        end = data.find(b"\r\n\r\n")
        # A server that ends a line at LF alone would see the end of the request elsewhere.
        if _ODD_END.search(data, 0, len(data) if end < 0 else end + 4):
            self._at = _DONE
            self._refuse("a line of the trailers does not end with CR LF")
        elif (len(data) if end < 0 else end) > self._left_of_trailers:
            self._at = _DONE
            self._refuse("there are too many trailers")
        elif end < 0:
            self._buffer = data[-3:]
            self._left_of_trailers -= len(data) - len(self._buffer)
        else:
            self._at = _DONE
            self._finish(data[end + 4 :])

"""The head of a response: its status line and headers, and what they state about its body and its connection.

Pure. It accepts what curl accepts, which is more than RFC 9112 allows: the work behind a 2xx is done, in whatever form
its server writes it, and repeating a call because of an odd header would do it again. After anything odd the connection
is not used again, so that bytes that two sides may read differently cannot affect another request."""

from __future__ import annotations

import re
from functools import lru_cache

_STATUS_LINE = re.compile(rb"HTTP/(\d{1,3})(?:\.(\d{1,3}))?[ \t]+([1-9]\d\d)(?!\d)[ \t]*(.*)", re.IGNORECASE)
#: A head in the form of RFC 9112, from its status line on. The lines of any other are read one by one.
_STRICT = re.compile(
    rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([^\r\n]*))?(\r\n)(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*"
)
_HEADER = re.compile(rb"([^:\r\n]+):([^\r\n]*)\r\n")
_NUMBER = re.compile(rb"\+?(\d+)")  # what follows it is ignored
_MOST_KEPT_BYTES = 2 * 1024  #: the longest head that is cached
_MOST_DIGITS = 18  #: a longer number counts as none
_BODILESS = frozenset({204, 304})
_FRAMING_LINE = re.compile(rb"\n(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*)")
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})

Headers = list[tuple[bytes, bytes]]  #: names in lower case, and values


class NotHttp(Exception):
    """What a server sent is not a response of HTTP/1."""


def not_http(text: bytes) -> NotHttp:
    """Return the error for an answer that begins with `text`."""
    return NotHttp(f"the answer is not HTTP: it begins with {ascii(text[:60])[2:-1]}")


class Head:
    """The content of a head. Several responses may share one: it does not change once it is read.

    Headers are parsed at first use, because few deliveries need them.

    :param strict: the headers as lines, if they have the form of RFC 9112; otherwise `headers` has them.
    """

    __slots__ = (
        *("_headers", "_strict", "codings", "is_chunked"),
        *("length", "may_stay", "phrase", "problem", "status", "version"),
    )

    def __init__(
        self, version: tuple[int, int], status: int, phrase: bytes, strict: bytes, headers: Headers | None = None
    ) -> None:
        self.version = version
        self.status = status
        self.phrase = phrase
        self._strict = strict
        self._headers = headers
        #: the bytes of the body; None if it ends by chunks or with its connection
        self.length: int | None = None
        self.is_chunked = False
        #: the codings of the body's transfer beside the chunks, in the order in which they were applied
        self.codings: tuple[bytes, ...] = ()
        #: whether the connection can carry another request after this response
        self.may_stay = version == (1, 1)
        #: why the end of the body is unknown; "" if it is known
        self.problem = ""

    @property
    def headers(self) -> Headers:
        """All headers."""
        if self._headers is None:
            self._headers = [(name.lower(), value.strip(b" \t")) for name, value in _HEADER.findall(self._strict)]
        return self._headers


def read_head(text: bytes, *, is_head: bool) -> Head:
    """Parse a head, without the empty line that ends it.

    :param text: lines, each with its end.
    :param is_head: the request was HEAD, so no body follows.
    :raises NotHttp: it does not begin with a status line of HTTP.
    """
    return _read_again(text, is_head) if len(text) <= _MOST_KEPT_BYTES else _read(text, is_head)


def _read(text: bytes, is_head: bool) -> Head:
    found = _STRICT.fullmatch(text)
    if found is not None:
        head = Head((1, int(found[1])), int(found[2]), found[3] or b"", text[found.end(4) :])
        is_odd = not _read_plain_framing(head, text.lower()) and _read_framing(head)
    else:
        line, _, rest = text.partition(b"\n")
        found = _STATUS_LINE.match(line)
        if found is None:
            raise not_http(text)
        major, minor, status, phrase = found.groups()
        head = Head((int(major), int(minor or 0)), int(status), phrase.rstrip(b"\r"), b"", _loose_headers(rest))
        is_odd = True
        _read_framing(head)
    if is_head or head.status in _BODILESS:
        # Its head may announce a body that does not arrive.
        head.length, head.is_chunked, head.problem = 0, False, ""
    if is_odd or (head.length is None and not head.is_chunked):
        head.may_stay = False
    return head


# Within a second, the resolution of its Date, a server writes the same head again and again.
_read_again = lru_cache(maxsize=128)(_read)


def _read_plain_framing(head: Head, lower: bytes) -> bool:
    """Store in a strict head where its body ends, if it states so in the plainest way; return whether it does.

    :param lower: all of its lines, in lower case.
    """
    length = connection = encoding = b""
    for name, value in _FRAMING_LINE.findall(lower):
        if name == b"content-length" and not length and value.isdigit() and len(value) <= _MOST_DIGITS:
            length = value
        elif name == b"connection" and not connection and (value == b"close" or value == b"keep-alive"):
            connection = value
        elif name == b"transfer-encoding" and not encoding and value == b"chunked":
            encoding = value
        else:
            return False
    if encoding:
        if length:
            return False
        head.is_chunked = True
    elif length:
        head.length = int(length)
    if connection:
        head.may_stay = connection == b"keep-alive"
    return True


def _loose_headers(text: bytes) -> Headers:
    """Return the headers in lines of any kind: a line without a colon is not a header."""
    gathered: list[tuple[bytes, list[bytes]]] = []
    for line in text.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            # A value of several lines (RFC 9112, 5.2).
            if gathered:
                gathered[-1][1].append(line.strip(b" \t\r"))
            continue
        name, colon, value = line.partition(b":")
        if colon:
            gathered.append((name.strip(b" \t\r").lower(), [value.strip(b" \t\r")]))
    return [(name, b" ".join(values).strip(b" ")) for name, values in gathered]


def _read_framing(head: Head) -> bool:
    """Store in a head where its body ends (RFC 9112, 6.3); return whether it states so in an odd way."""
    is_odd, lengths, encodings = False, 0, []
    for name, value in head.headers:
        if name not in _FRAMING:
            continue
        if name == b"content-length":
            lengths += 1
            is_odd |= not value.isdigit()
            found = _NUMBER.match(value)
            if found is None:
                head.problem = f"its Content-Length is not a number: {ascii(value[:40])[2:-1]}"
            elif len(found[1]) <= _MOST_DIGITS:
                # Of several the least: waiting for more than arrives would turn an answer into a timeout.
                length = int(found[1])
                head.length = length if head.length is None else min(head.length, length)
        elif name == b"connection":
            options = [option.strip(b" \t") for option in value.lower().split(b",")]
            head.may_stay = b"close" not in options and (head.may_stay or b"keep-alive" in options)
        else:
            encodings.append(value.lower())
    if encodings:
        # Parameters of a coding are ignored.
        listed = [one.partition(b";")[0].strip(b" \t") for one in b",".join(encodings).split(b",")]
        codings = tuple(one for one in listed if one not in (b"", b"identity"))
        head.is_chunked = b"chunked" in codings
        head.codings = tuple(one for one in codings if one != b"chunked")
        is_odd |= encodings != [b"chunked"] or lengths > 0
        if head.is_chunked:
            head.length, head.problem = None, ""
    return is_odd or lengths > 1

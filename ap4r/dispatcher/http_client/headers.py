"""The values that an exchange passes to treq and Twisted: headers, a body, a ready URL, no cookies, a body reader.

All of them have the form in which they are sent, so that treq's layers need not copy or parse them again.
They do not depend on messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from http.cookiejar import CookieJar
from typing import Any, cast

from hyperlink import EncodedURL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ap4r.dispatcher.http_client.response_framing import TooMuch
from ap4r.dispatcher.http_client.response_head import Head

_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


#: The size of a compressed answer says nothing about its content.
_AS_IT_IS = b"accept-encoding"


def header_lines(values: Mapping[bytes, Sequence[bytes]]) -> bytes:
    """Return headers as lines, each with its line end.

    A value of several lines is joined to one, so that it cannot be taken for another header or for the end of the
    headers (RFC 9112, 5.2).

    :param values: by name in lower case.
    :raises ValueError: a name is not a token (RFC 9110, 5.1), or there are two hosts (RFC 9112, 3.2).
    """
    if len(values.get(b"host", ())) > 1:
        raise ValueError("a request has one Host (RFC 9112, 3.2)")
    lines = [_named(name) + value for name, several in values.items() for value in several]
    if _AS_IT_IS not in values:
        lines.append(b"Accept-Encoding: identity")
    text = b"\r\n".join(lines)
    if text.count(b"\n") != len(lines) - 1 or text.count(b"\r") != len(lines) - 1:
        text = b"\r\n".join(b" ".join(line.splitlines()) for line in lines)
    return text + b"\r\n"


class SentHeaders(Headers):
    """The headers of one request as the lines that are sent: headers that treq would add are left out."""

    __slots__ = ("lines",)

    def __init__(self, lines: bytes) -> None:
        super().__init__()
        self.lines = lines

    def copy(self) -> SentHeaders:
        """Return itself: it never changes."""
        return self

    def hasHeader(self, name: str | bytes) -> bool:
        """Return True for the cookies that treq checks for."""
        return True

    def addRawHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Ignore the header that treq adds by itself: it asks for a compressed answer."""


class ReceivedHeaders(Headers):
    """The headers of one response.

    treq does not see a Content-Encoding, which would make it decompress; the bytes stay as they arrived.
    """

    __slots__ = ("_head",)

    def __init__(self, head: Head) -> None:
        super().__init__()
        self._head = head

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """Return the values of a header, as text if the name is text."""
        wanted = (name.encode("ascii", "replace") if isinstance(name, str) else name).lower()
        if wanted == b"content-encoding":
            return default
        found = [value for own, value in self._head.headers if own == wanted]
        if not found:
            return default
        return [value.decode("utf-8", "replace") for value in found] if isinstance(name, str) else found

    @property
    def codings(self) -> list[str]:
        """The codings of the body (Content-Encoding, Transfer-Encoding), in the order in which they were applied."""
        head = self._head
        found = [value.decode("latin-1") for own, value in head.headers if own == b"content-encoding"]
        listed = ",".join(found).split(",") if found else []
        return [*listed, *(coding.decode("latin-1") for coding in head.codings)]

    def removeHeader(self, name: str | bytes) -> None:
        """Do nothing: the header that treq removes is hidden from it already."""

    def setRawHeaders(self, name: str | bytes, values: Any) -> None:
        """Do nothing: treq writes back only the header that is hidden from it."""


@lru_cache(maxsize=4_096)
def _named(name: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header (RFC 9110, 5.1)")
    return b"-".join(part.capitalize() for part in name.split(b"-")) + b": "


class BodyReader(Protocol):
    """Collects a body up to a bound.

    :param ended: gets the body, and Twisted's reason when it has ended, or `TooMuch` when it exceeds the bound.
    """

    def __init__(self, bound: int, ended: Callable[[bytes, Failure], None]) -> None:
        self._bound = bound
        self._body_ended: Callable[[bytes, Failure], None] | None = ended
        self._first = b""
        self._rest: bytearray | None = None  # parts of one byte each would take forty times their size

    def dataReceived(self, data: bytes) -> None:
        """Receive a part."""
        if self._rest is not None:
            self._rest += data
        elif self._first:
            self._rest = bytearray(self._first) + data
        else:
            self._first = data
        if len(self._first if self._rest is None else self._rest) > self._bound:
            self._end(Failure(TooMuch(f"a body of more than {self._bound:,} bytes")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass on the whole."""
        self._end(reason)

    def _end(self, reason: Failure) -> None:
        ended, self._body_ended = self._body_ended, None
        if ended is not None:
            body = self._first if self._rest is None else bytes(self._rest)
            self._first, self._rest = b"", None
            ended(body[: self._bound], reason)


@implementer(IBodyProducer)
class RequestBody:
    """A body in memory; Twisted's own producer would need a turn of the reactor for it."""

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        self.length = len(whole)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the whole body."""
        consumer.write(self.whole)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: all is written already."""

    def resumeProducing(self) -> None:
        """Do nothing: all is written already."""

    def stopProducing(self) -> None:
        """Do nothing: all is written already."""


def as_it_is(data: Any) -> Any:
    """Return a body that is a producer already, for which treq would look up an adapter."""
    return data


class _NoCookies(CookieJar):
    """Stores nothing: a target must not receive cookies of another one, or of an earlier message."""

    def __iter__(self) -> Iterator[Any]:
        """Yield nothing."""
        return iter(())

    def add_cookie_header(self, request: Any) -> None:
        """Do nothing."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Do nothing."""


NO_COOKIES: Any = _NoCookies()


class _URLBytes(bytes):
    """A URL that treq's cookie jar need not parse, because there are no cookies."""

    def strip(self, chars: Any = None) -> bytes:
        """Return "", so that there is nothing to parse. It has no spaces, so nothing else strips it."""
        return b""


class _URLText(str):
    """A URL whose bytes are cached."""

    encoded: bytes

    def encode(self, encoding: str = "ascii", errors: str = "strict") -> bytes:
        """Return the bytes, the same object each time, so that its hash is cached too."""
        return self.encoded


class _PreparedURL(EncodedURL):
    """A URL whose text is known: treq would normalise and write it again for each request."""

    _text: _URLText

    def to_uri(self) -> EncodedURL:
        """Return itself: it is a URI already."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """Return the text unchanged."""
        return self._text


@lru_cache(maxsize=4_096)
def prepared_url(url: str) -> EncodedURL:
    """Return a URL for treq. It must be in the form in which it is sent."""
    prepared = _PreparedURL.from_text(url)
    text = _URLText(url)
    text.encoded = _URLBytes(url, "ascii")
    cast(_PreparedURL, prepared)._text = text
    return prepared

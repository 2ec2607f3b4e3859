"""What an exchange hands to treq and Twisted: headers, a body, a ready URL, no cookies, a reader of the answer.

All of it is in the form in which it is sent, so that the layers of treq have nothing left to copy or to parse anew.
It knows nothing of messages.
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


#: A compressed answer has no honest size.
_AS_IT_IS = b"accept-encoding"


def header_lines(values: Mapping[bytes, Sequence[bytes]]) -> bytes:
    """Write headers as lines, each with its end.

    A value of several lines is put on one, so that it cannot be taken for a header or for the end of them all
    (RFC 9112, 5.2).

    :param values: by name in lower case.
    :raises ValueError: a name is no token (RFC 9110, 5.1), or there are two hosts (RFC 9112, 3.2).
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
    """The headers of one request as the lines that are sent: what treq would add for itself is left out."""

    __slots__ = ("lines",)

    def __init__(self, lines: bytes) -> None:
        super().__init__()
        self.lines = lines

    def copy(self) -> SentHeaders:
        """Give itself: nobody changes it."""
        return self

    def hasHeader(self, name: str | bytes) -> bool:
        """Claim to have what treq asks for, the cookies."""
        return True

    def addRawHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Leave out what treq asks for behind our back: a compressed answer."""


class ReceivedHeaders(Headers):
    """The headers of one response.

    treq does not see a Content-Encoding, which it would take for a wish to decompress; the bytes stay as they came.
    """

    __slots__ = ("_head",)

    def __init__(self, head: Head) -> None:
        super().__init__()
        self._head = head

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """Give the values of a header, as text if the name is text."""
        wanted = (name.encode("ascii", "replace") if isinstance(name, str) else name).lower()
        if wanted == b"content-encoding":
            return default
        found = [value for own, value in self._head.headers if own == wanted]
        if not found:
            return default
        return [value.decode("utf-8", "replace") for value in found] if isinstance(name, str) else found

    @property
    def codings(self) -> list[str]:
        """What was done to the body on its way (Content-Encoding, Transfer-Encoding), in the order in which it was."""
        head = self._head
        found = [value.decode("latin-1") for own, value in head.headers if own == b"content-encoding"]
        listed = ",".join(found).split(",") if found else []
        return [*listed, *(coding.decode("latin-1") for coding in head.codings)]

    def removeHeader(self, name: str | bytes) -> None:
        """Remove nothing: the header that treq removes is hidden from it already."""

    def setRawHeaders(self, name: str | bytes, values: Any) -> None:
        """Set nothing: what treq writes back is the header that is hidden from it."""


@lru_cache(maxsize=4_096)
def _named(name: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header (RFC 9110, 5.1)")
    return b"-".join(part.capitalize() for part in name.split(b"-")) + b": "


class BodyReader(Protocol):
    """Gathers a body up to a bound.

    :param ended: given the body, and Twisted's reason when no more comes, or `TooMuch` when more came.
    """

    def __init__(self, bound: int, ended: Callable[[bytes, Failure], None]) -> None:
        self._bound = bound
        self._body_ended: Callable[[bytes, Failure], None] | None = ended
        self._first = b""
        self._rest: bytearray | None = None  # pieces of one byte each would take forty times their size

    def dataReceived(self, data: bytes) -> None:
        """Take a piece."""
        if self._rest is not None:
            self._rest += data
        elif self._first:
            self._rest = bytearray(self._first) + data
        else:
            self._first = data
        if len(self._first if self._rest is None else self._rest) > self._bound:
            self._end(Failure(TooMuch(f"a body of more than {self._bound:,} bytes")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give the whole."""
        self._end(reason)

    def _end(self, reason: Failure) -> None:
        ended, self._body_ended = self._body_ended, None
        if ended is not None:
            body = self._first if self._rest is None else bytes(self._rest)
            self._first, self._rest = b"", None
            ended(body[: self._bound], reason)


@implementer(IBodyProducer)
class RequestBody:
    """A body that is in memory; Twisted's own producer would take a turn of the reactor for it."""

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        self.length = len(whole)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it all."""
        consumer.write(self.whole)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing to pause."""

    def resumeProducing(self) -> None:
        """Nothing to resume."""

    def stopProducing(self) -> None:
        """Nothing to stop."""


def as_it_is(data: Any) -> Any:
    """Give a body that is a producer already: treq would look for an adapter."""
    return data


class _NoCookies(CookieJar):
    """Keeps nothing: a target must not see what another, or an earlier message, was given."""

    def __iter__(self) -> Iterator[Any]:
        """Give none."""
        return iter(())

    def add_cookie_header(self, request: Any) -> None:
        """Add none."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Take none."""


NO_COOKIES: Any = _NoCookies()


class _URLBytes(bytes):
    """A URL that treq's keeper of cookies need not take apart: there are no cookies."""

    def strip(self, chars: Any = None) -> bytes:
        """Give nothing to take apart. Nobody else strips it: it has no blanks."""
        return b""


class _URLText(str):
    """A URL whose bytes are known."""

    encoded: bytes

    def encode(self, encoding: str = "ascii", errors: str = "strict") -> bytes:
        """Give the bytes, the same ones each time: so their hash is known to every cache."""
        return self.encoded


class _PreparedURL(EncodedURL):
    """A URL whose text is known: treq would normalise and write it anew for each request."""

    _text: _URLText

    def to_uri(self) -> EncodedURL:
        """Give itself: it is a URI already."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """Give the text as it was given."""
        return self._text


@lru_cache(maxsize=4_096)
def prepared_url(url: str) -> EncodedURL:
    """Give a URL for treq. It must be in the form in which it is to be sent."""
    prepared = _PreparedURL.from_text(url)
    text = _URLText(url)
    text.encoded = _URLBytes(url, "ascii")
    cast(_PreparedURL, prepared)._text = text
    return prepared

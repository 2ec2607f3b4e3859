"""What an exchange hands to treq and Twisted: a body, a reader of the answer, a ready URL, a jar for no cookies.

It knows nothing of messages.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from http.cookiejar import CookieJar
from typing import Any, cast

from hyperlink import EncodedURL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ap4r.outcome import Reason


class Reader(Protocol):
    """Gathers a body up to a bound.

    :param cut: told BODY_TOO_LARGE when more comes.
    :param ended: given the body and Twisted's reason when no more comes.
    """

    def __init__(self, bound: int, cut: Callable[[Reason], None], ended: Callable[[bytes, Failure], None]) -> None:
        self._left = bound
        self._cut = cut
        self._body_ended = ended
        self._pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """Take a piece."""
        self._left -= len(data)
        if self._left < 0:
            self._pieces.clear()
            self._cut(Reason.BODY_TOO_LARGE)
        else:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give the whole."""
        self._body_ended(b"".join(self._pieces), reason)


@implementer(IBodyProducer)
class Body:
    """Writes a body at once: it is in memory anyway, and Twisted's own producer takes a turn of the reactor for it."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it all."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing to pause."""

    def resumeProducing(self) -> None:
        """Nothing to resume."""

    def stopProducing(self) -> None:
        """Nothing to stop."""


class _NoCookies(CookieJar):
    """Keeps nothing: a target must not see what another, or an earlier message, was given."""

    def add_cookie_header(self, request: Any) -> None:
        """Add none."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Take none."""


NO_COOKIES: Any = _NoCookies()


class _PreparedURL(EncodedURL):
    """A URL whose text is known: treq would normalise and write it anew for each request."""

    _text: str

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
    cast(_PreparedURL, prepared)._text = url
    return prepared

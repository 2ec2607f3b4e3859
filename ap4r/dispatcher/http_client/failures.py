"""The result of an exchange as a value: the one place where Twisted's failures become `NoResponse`s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import RequestGenerationFailed, ResponseFailed
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss

from ap4r.dispatcher.http_client.address_guard import AddressRefused
from ap4r.dispatcher.http_client.content_coding import Undecodable
from ap4r.dispatcher.http_client.response_framing import TooMuch
from ap4r.dispatcher.http_client.response_head import NotHttp
from ap4r.dispatcher.http_client.tls import NotTheServer
from ap4r.outcome.outcome import Answer, NoResponse, Reason, ResponseReading

_DETAIL_CHARACTERS = 200
_TLS = (SSL.Error,)
_LOST = (error.ConnectionLost, error.ConnectionDone, error.ConnectionAborted, CancelledError, PotentialDataLoss)
_TIMEOUTS = (error.TimeoutError, error.TCPTimedOutError)
_NO_NAME = (error.DNSLookupError, error.UnknownHostError)


def fault_of(
    failure: Failure | None, *, called: bool, cut: Reason | None, status: int | None, seconds: float
) -> NoResponse:
    """Return what went wrong in an exchange without a whole response.

    :param failure: the error of the transport; None when the exchange was only cut.
    :param called: whether a byte of the request may have been written.
    :param cut: why the dispatcher itself ended the exchange, if it did.
    :param status: of the response, if its headers had arrived.
    """
    causes = [] if failure is None else list(_causes(failure.value))
    if cut is not None:
        reason = _reason_of_cut(cut, called)
    elif _never_written(failure):
        reason, called = Reason.BAD_TARGET, False
    elif called:
        reason = _reason_after_call(causes)
    else:
        reason = _reason_before_call(causes)
    return NoResponse(reason, called, _detail(causes if cut is None else [], reason), status, seconds)


def answer_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    kept_bytes: int,
    search_true: bool,
    seconds: float,
    reading: ResponseReading | None = None,
) -> Answer:
    """Return the answer of a whole response, its body cut to the kept part.

    :param search_true: the original success rule looks for "true" in the whole body; if it is behind the cut,
        only "true" is kept of the body.
    """
    kept = body[:kept_bytes]
    if search_true and b"true" not in kept and b"true" in body:
        kept = b"true"
    return Answer(status, headers, kept, seconds, reading)


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    """Yield the innermost reasons that the HTTP client wrapped, in their order."""
    reasons = getattr(problem, "reasons", None)
    if isinstance(reasons, (list, tuple)) and reasons:
        for reason in reasons:
            yield from _causes(reason.value if isinstance(reason, Failure) else reason)
    elif problem is not None:
        yield problem


def _never_written(failure: Failure | None) -> bool:
    # The request could not even be written as bytes: an invalid header, an invalid method.
    return failure is not None and isinstance(failure.value, RequestGenerationFailed)


def _reason_of_cut(cut: Reason, called: bool) -> Reason:
    # A timeout before the request was written is the target's failure to accept it.
    return Reason.CONNECT_TIMEOUT if cut is Reason.TIMEOUT and not called else cut


def _reason_after_call(causes: list[BaseException]) -> Reason:
    if any(isinstance(cause, (*_LOST, *_TLS, *_TIMEOUTS, error.ConnectError, OSError)) for cause in causes):
        return Reason.RESET
    if any(isinstance(cause, ResponseFailed) for cause in causes):
        return Reason.RESET
    if any(isinstance(cause, TooMuch) for cause in causes):
        return Reason.BODY_TOO_LARGE
    return Reason.BAD_RESPONSE


def _reason_before_call(causes: list[BaseException]) -> Reason:
    for cause in causes:
        if isinstance(cause, AddressRefused):
            return Reason.REFUSED_ADDRESS
        if isinstance(cause, _NO_NAME):
            return Reason.NAME_NOT_FOUND
        if isinstance(cause, _TIMEOUTS):
            return Reason.CONNECT_TIMEOUT
        # A connection that was opened and lost before any request was sent was lost in the TLS handshake.
        if isinstance(cause, (*_TLS, error.ConnectionLost, error.ConnectionDone, error.ConnectionAborted)):
            return Reason.TLS_FAILED
        if isinstance(cause, (ValueError, TypeError, SchemeNotSupported)):
            return Reason.BAD_TARGET
    # Any other reason that prevents connecting, such as too few file descriptors, is temporary.
    return Reason.CONNECT_FAILED


def _detail(causes: list[BaseException], reason: Reason) -> str:
    texts = [_said(cause) for cause in causes]
    text = "; ".join(dict.fromkeys(texts)) or reason.value.replace("_", " ")
    return text if len(text) <= _DETAIL_CHARACTERS else text[: _DETAIL_CHARACTERS - 1] + "…"


def _said(cause: BaseException) -> str:
    text = str(cause)
    if isinstance(cause, (error.ConnectError, AddressRefused, NotTheServer, NotHttp, Undecodable)) and text:
        return text
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__

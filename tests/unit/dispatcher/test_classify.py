"""classify: every failure of the HTTP client as a value."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import (
    RequestGenerationFailed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss

from ap4r.dispatcher.http_client.failures import answer_of, fault_of
from ap4r.outcome.outcome import NOT_CALLED, Reason


def wrapped(kind, *errors):
    """Wrap errors as Twisted does."""
    return kind([Failure(one) for one in errors])


BEFORE = [
    (error.ConnectionRefusedError(), Reason.CONNECT_FAILED),
    (error.NoRouteError(), Reason.CONNECT_FAILED),
    (error.ConnectError(), Reason.CONNECT_FAILED),
    (error.ConnectBindError(), Reason.CONNECT_FAILED),
    (OSError(24, "Too many open files"), Reason.CONNECT_FAILED),
    (RuntimeError("whatever"), Reason.CONNECT_FAILED),
    (RequestNotSent(), Reason.CONNECT_FAILED),
    (error.TimeoutError(), Reason.CONNECT_TIMEOUT),
    (error.TCPTimedOutError(), Reason.CONNECT_TIMEOUT),
    (error.DNSLookupError("no such host"), Reason.NAME_NOT_FOUND),
    (error.UnknownHostError(), Reason.NAME_NOT_FOUND),
    (SSL.Error([("SSL routines", "", "certificate verify failed")]), Reason.TLS_FAILED),
    (error.ConnectionLost(), Reason.TLS_FAILED),
    (error.ConnectionDone(), Reason.TLS_FAILED),
    (ValueError("invalid hostname"), Reason.BAD_TARGET),
    (SchemeNotSupported("gopher"), Reason.BAD_TARGET),
]
AFTER = [
    (wrapped(ResponseNeverReceived, error.ConnectionLost()), Reason.RESET),
    (wrapped(ResponseNeverReceived, error.ConnectionDone()), Reason.RESET),
    (wrapped(ResponseNeverReceived, error.ConnectionAborted()), Reason.RESET),
    (wrapped(RequestTransmissionFailed, error.ConnectionLost()), Reason.RESET),
    (wrapped(ResponseFailed, error.ConnectionDone()), Reason.RESET),
    (wrapped(ResponseFailed, error.ConnectionDone(), PotentialDataLoss()), Reason.RESET),
    (wrapped(ResponseFailed, wrapped(ResponseFailed, error.ConnectionLost())), Reason.RESET),
    (wrapped(ResponseNeverReceived, SSL.Error([])), Reason.RESET),
    (wrapped(ResponseNeverReceived, error.TimeoutError()), Reason.RESET),
    (wrapped(ResponseFailed, ValueError("conflicting lengths")), Reason.BAD_RESPONSE),
    (wrapped(ResponseFailed, KeyError(b"gzip")), Reason.BAD_RESPONSE),
    (RuntimeError("a defect"), Reason.BAD_RESPONSE),
]


def fault(failure, *, called, cut=None, status=None):
    """Classify a failure."""
    return fault_of(Failure(failure), called=called, cut=cut, status=status, seconds=1.5)


def name(case):
    """Name a case by its error."""
    return repr(case)[:60]


@pytest.mark.parametrize(("failure", "reason"), BEFORE, ids=name)
def test_before_the_first_byte(failure, reason):
    """No call took place, and all but a bad target are the target's failures."""
    found = fault(failure, called=False)
    assert (found.reason, found.called, found.seconds) == (reason, False, 1.5)
    assert reason in NOT_CALLED or reason is Reason.BAD_TARGET


@pytest.mark.parametrize(("failure", "reason"), AFTER, ids=name)
def test_after_the_first_byte(failure, reason):
    """A call took place, whatever is known of it."""
    found = fault(failure, called=True, status=200)
    assert (found.reason, found.called, found.status) == (reason, True, 200)
    assert reason not in NOT_CALLED


def test_a_request_that_could_not_be_written():
    """Its target is bad, and nothing was called."""
    found = fault(wrapped(RequestGenerationFailed, ValueError("Invalid method b'G T'")), called=True)
    assert (found.reason, found.called) == (Reason.BAD_TARGET, False)


@pytest.mark.parametrize("cut", [Reason.TIMEOUT, Reason.STOPPED, Reason.BODY_TOO_LARGE])
@pytest.mark.parametrize("kind", [ResponseNeverReceived, RequestGenerationFailed])
def test_what_we_cut_is_called_by_its_cause(cut, kind):
    """Our own cancel is no reset of the target's."""
    found = fault(wrapped(kind, CancelledError()), called=True, cut=cut)
    assert (found.reason, found.called) == (cut, True)


def test_out_of_time_before_the_request_was_written():
    """That is the target's failure to accept it."""
    found = fault(CancelledError(), called=False, cut=Reason.TIMEOUT)
    assert (found.reason, found.called) == (Reason.CONNECT_TIMEOUT, False)


def test_cut_without_a_failure():
    """The detail says what the reason says."""
    found = fault_of(None, called=True, cut=Reason.BODY_TOO_LARGE, status=200, seconds=0.0)
    assert found.detail == "body too large"


def test_the_detail_is_short_and_says_what_happened():
    """A person reads the innermost reasons; a flood is cut."""
    assert "refused" in fault(error.ConnectionRefusedError(), called=False).detail
    assert fault(wrapped(ResponseFailed, error.ConnectionDone()), called=True).detail.startswith("ConnectionDone")
    assert len(fault(RuntimeError("x" * 5_000), called=True).detail) == 200


@pytest.mark.parametrize(
    ("body", "kept"),
    [(b"true", b"true"), (b"x" * 20 + b"true", b"true"), (b"x" * 20, b"x" * 10), (b"x true xxxxxx", b"x true xxx")],
)
def test_a_true_behind_the_cut_is_kept(body, kept):
    """The original success rule finds it at every position."""
    assert answer_of(200, {}, body, kept_bytes=10, search_true=True, seconds=0.0).body == kept


def test_without_that_rule_the_beginning_is_kept():
    """What a person reads is what the target said first."""
    answer = answer_of(200, {}, b"x" * 20 + b"true", kept_bytes=10, search_true=False, seconds=0.0)
    assert answer.body == b"x" * 10

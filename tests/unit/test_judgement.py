"""Outcomes: what every end of a call means for its message."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.message.message import Delivery
from ap4r.outcome.backoff import Backoff
from ap4r.outcome.outcome import (
    NOT_CALLED,
    Answer,
    Dead,
    Delivered,
    DeliveryRules,
    Dropped,
    Failure,
    History,
    NoResponse,
    PutBack,
    Reason,
    RetryLater,
)
from ap4r.outcome.response import UNREADABLE, ResponseReading
from ap4r.outcome.retry_policy import after_crash, before_call, judge, last_repeat_seconds, slow_down_seconds

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
RULES = DeliveryRules()
AP4R = DeliveryRules(success="ap4r")
REPEATED, ONCE, BEST_EFFORT = Delivery.REPEATED, Delivery.ONCE, Delivery.BEST_EFFORT


def _history(delivery=REPEATED, *, attempt=1, failures=0, age_seconds=0.0, **others):
    return History(delivery, attempt=attempt, failures=failures, age_seconds=age_seconds, **others)


def _judged(exchange, history, rules=RULES, random=0.5):
    return judge(exchange, history, rules, random, NOW)


# --------------------------------------------------------------------------------- answers, first attempt

# What an answer to a first attempt means: for `repeated` (None: delivered; a reason with: does it count?), else dead.
ANSWERS = [
    (200, None, None),
    (201, None, None),
    (202, None, None),
    (204, None, None),
    (206, None, None),
    (299, None, None),
    (100, Reason.STATUS, True),
    (199, Reason.STATUS, True),
    (300, Reason.STATUS, True),
    (301, Reason.STATUS, True),
    (302, Reason.STATUS, True),
    (303, Reason.STATUS, True),
    (304, Reason.STATUS, True),
    (307, Reason.STATUS, True),
    (308, Reason.STATUS, True),
    (400, Reason.STATUS, True),
    (401, Reason.STATUS, True),
    (403, Reason.STATUS, True),
    (404, Reason.STATUS, True),
    (408, Reason.STATUS, True),
    (409, Reason.STATUS, True),
    (410, Reason.GONE, "dead"),
    (413, Reason.STATUS, True),
    (422, Reason.STATUS, True),
    (425, Reason.STATUS, True),
    (429, Reason.SLOW_DOWN, False),
    (489, Reason.GONE, "dead"),
    (499, Reason.STATUS, True),
    (500, Reason.STATUS, True),
    (501, Reason.STATUS, True),
    (502, Reason.STATUS, True),
    (503, Reason.SLOW_DOWN, False),
    (504, Reason.STATUS, True),
    (599, Reason.STATUS, True),
    (999, Reason.STATUS, True),
    (0, Reason.STATUS, True),
]


@pytest.mark.parametrize(("status", "reason", "counts"), ANSWERS)
def test_an_answer_to_a_first_attempt(status, reason, counts):
    """2xx delivers; 410 and 489 kill; 429 and 503 cost only age; redirects and the rest are failures to repeat."""
    answer = Answer(status, body=b"why", seconds=0.5)
    failure = Failure(reason, status, "why", 0.5)
    if reason is None:
        for delivery in Delivery:
            assert _judged(answer, _history(delivery)) == Delivered(status, 0.5)
    elif counts == "dead":
        assert _judged(answer, _history(REPEATED)) == Dead(reason, failure, called=True, counts=True)
        assert _judged(answer, _history(ONCE)) == Dead(reason, failure, called=True, counts=True)
        assert _judged(answer, _history(BEST_EFFORT)) == Dropped(failure)
    else:
        assert _judged(answer, _history(REPEATED)) == RetryLater(failure, wait_seconds=2.5, counts=counts)
        assert _judged(answer, _history(ONCE)) == Dead(reason, failure, called=True, counts=counts)
        assert _judged(answer, _history(BEST_EFFORT)) == Dropped(failure)


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
@pytest.mark.parametrize(
    ("word", "is_final"), [("no", True), (" NO ", True), ("yes", False), ("", False), ("n", False)]
)
def test_the_handler_may_refuse_every_repeat(status, word, is_final):
    """`Ap4r-Retry: no` with an answer that is not success makes a dead letter at once; other words mean nothing."""
    outcome = _judged(Answer(status, {"ap4r-retry": word}), _history())
    assert isinstance(outcome, Dead if is_final else RetryLater)
    if is_final:
        assert (outcome.reason, outcome.called, outcome.counts) == (Reason.REFUSED, True, status not in (429, 503))


def test_a_call_that_still_runs_elsewhere_costs_only_age():
    """Our own 409 is no failure, however often it comes, and its Retry-After is obeyed by that message alone."""
    answer = Answer(409, {"ap4r-busy": "1", "retry-after": "7"}, b"busy", 0.5)
    failure = Failure(Reason.BUSY, 409, "busy", 0.5)
    for failures in (0, 4, 19):
        outcome = _judged(answer, _history(failures=failures, attempt=1, max_deliveries=20))
        assert outcome == RetryLater(failure, wait_seconds=7.0, counts=False)
    assert _judged(answer, _history(BEST_EFFORT)) == Dropped(failure)


@pytest.mark.parametrize(("status", "marker"), [(409, ""), (409, "0"), (409, "yes"), (500, "1"), (404, "1")])
def test_an_application_s_own_conflict_is_a_failure(status, marker):
    """Only a 409 with our marker is ours."""
    outcome = _judged(Answer(status, {"ap4r-busy": marker}), _history())
    assert isinstance(outcome, RetryLater)
    assert (outcome.failure.reason, outcome.counts) == (Reason.STATUS, True)


def test_a_success_with_ap4r_retry_is_a_success():
    """The header asks for no repeat, and there is none of a success."""
    assert _judged(Answer(200, {"ap4r-retry": "no"}), _history()) == Delivered(200)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"true", None),
        (200, b"<p>true</p>", None),
        (200, b"x" * 100_000 + b"true", None),
        (200, b"", Reason.NOT_TRUE),
        (200, b"True", Reason.NOT_TRUE),
        (200, b"false", Reason.NOT_TRUE),
        (201, b"true", Reason.STATUS),
        (204, b"", Reason.STATUS),
        (404, b"true", Reason.STATUS),
        (410, b"true", Reason.GONE),
        (503, b"true", Reason.SLOW_DOWN),
    ],
)
def test_the_original_success_rule(status, body, reason):
    """With success = "ap4r" only status 200 and a body with "true" delivers."""
    outcome = _judged(Answer(status, body=body), _history(ONCE), AP4R)
    assert outcome.reason is reason if reason else outcome == Delivered(200)


def test_a_body_that_is_no_text_is_kept_as_text():
    """Whatever bytes an answer has, the note about it can be written."""
    assert _judged(Answer(500, body=b"\xff\x00\xc3"), _history()).failure.detail == "\ufffd\x00\ufffd"


# --------------------------------------------------------------------------------- how many failures

CAPS = [
    # status, limit of the message, failures before, dead?
    (500, None, 18, False),
    (500, None, 19, True),
    (500, None, 100, True),
    (301, None, 18, False),
    (301, None, 19, True),
    (404, None, 3, False),
    (404, None, 4, True),
    (404, None, 10, True),
    (400, None, 4, True),
    (408, None, 18, False),
    (409, None, 18, False),
    (425, None, 18, False),
    (409, None, 19, True),
    (429, None, 1_000, False),
    (503, None, 1_000, False),
    (500, 1, 0, True),
    (500, 2, 0, False),
    (500, 2, 1, True),
    (500, 100, 98, False),
    (404, 100, 98, False),
    (404, 100, 99, True),
    (404, 2, 1, True),
    (429, 1, 1_000, False),
    (503, 1, 1_000, False),
]


@pytest.mark.parametrize(("status", "limit", "failures", "is_dead"), CAPS)
def test_failures_end_at_max_deliveries(status, limit, failures, is_dead):
    """20 failures, or 5 after 15 minutes of client errors; a message's own number counts instead; 429, 503 never."""
    history = _history(attempt=7, failures=failures, max_deliveries=limit, client_errors_seconds=900.0)
    outcome = _judged(Answer(status), history)
    if is_dead:
        assert outcome == Dead(Reason.STATUS, Failure(Reason.STATUS, status), called=True, counts=True)
    else:
        assert isinstance(outcome, RetryLater)
        assert outcome.counts == (status not in (429, 503))


def test_a_low_max_deliveries_bounds_client_errors_too():
    """The cap of client errors never allows more than the cap of all."""
    rules = DeliveryRules(max_deliveries=2)
    assert isinstance(_judged(Answer(404), _history(failures=0), rules), RetryLater)
    assert isinstance(_judged(Answer(404), _history(failures=1), rules), Dead)
    assert isinstance(_judged(Answer(404), _history(failures=1, client_errors_seconds=900.0), rules), Dead)


CLIENT_ERRORS = [400, 402, 404, 405, 406, 411, 412, 413, 414, 415, 417, 421, 422, 423, 424, 426, 431, 451, 499]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("status", CLIENT_ERRORS)
def test_a_client_error_kills_nothing_within_a_quarter_of_an_hour(status, own):
    """However many failures there were, up to max_deliveries: half of the servers may be of an older version."""
    for failures in range(19):
        outcome = judge(
            Answer(status), _history(failures=failures, client_errors_seconds=899.0), RULES, 0.0, NOW, own=own
        )
        assert isinstance(outcome, RetryLater)
        assert outcome.counts
    assert isinstance(judge(Answer(status), _history(failures=19), RULES, 0.0, NOW, own=own), Dead)


@given(
    st.integers(0, 18),
    st.floats(0.0, 2.0),
    st.floats(1.0, 3.0),
    st.integers(2, 40),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_the_calls_that_are_left_last_for_a_quarter_of_an_hour(failures, first_seconds, factor, most, random):
    """Whatever the back-off and the failures of other kinds before, also where max_deliveries is small."""
    rules = DeliveryRules(max_deliveries=most, backoff=Backoff(first_seconds, factor))
    failures, seconds, attempt = min(failures, most - 2), 0.0, 1
    while True:
        history = _history(attempt=attempt, failures=failures, client_errors_seconds=seconds, age_seconds=seconds)
        outcome = _judged(Answer(404), history, rules, random)
        if isinstance(outcome, Dead):
            break
        seconds, failures, attempt = seconds + outcome.wait_seconds, failures + 1, attempt + 1
    assert seconds >= 899.999


@pytest.mark.parametrize("status", [401, 403])
def test_settings_of_our_own_servers_kill_no_message(status):
    """401 and 403 of an upstream wait until it is too late, and count nothing; a message's own number counts."""
    answer = Answer(status)
    outcome = judge(answer, _history(failures=1_000, client_errors_seconds=10**6), RULES, 0.5, NOW, own=True)
    assert outcome == RetryLater(Failure(Reason.STATUS, status), wait_seconds=2.5, counts=False)
    assert judge(answer, _history(age_seconds=259_199.0), RULES, 0.5, NOW, own=True).reason is Reason.GAVE_UP
    own_number = _history(failures=2, max_deliveries=3)
    assert judge(answer, own_number, RULES, 0.5, NOW, own=True) == Dead(
        Reason.STATUS, Failure(Reason.STATUS, status), called=True, counts=True
    )
    assert isinstance(judge(answer, _history(ONCE), RULES, 0.5, NOW, own=True), Dead)
    assert judge(Answer(status, {"ap4r-retry": "no"}), _history(), RULES, 0.5, NOW, own=True).reason is Reason.REFUSED
    assert judge(answer, _history(failures=4, client_errors_seconds=900.0), RULES, 0.5, NOW).reason is Reason.STATUS


# --------------------------------------------------------------------------------- no whole answer

CALLED_FAULTS = [Reason.TIMEOUT, Reason.RESET, Reason.BODY_TOO_LARGE, Reason.BAD_RESPONSE, Reason.TLS_FAILED]


@pytest.mark.parametrize("status", [None, 200, 404, 410, 500])
@pytest.mark.parametrize("reason", CALLED_FAULTS)
def test_a_call_without_a_whole_answer_is_a_failure(reason, status):
    """A timeout, a reset, or half a body after the request was sent counts, also under a 200."""
    fault = NoResponse(reason, called=True, detail="why", status=status, seconds=1.0)
    failure = Failure(reason, status, "why", 1.0)
    if status == 200 and reason in UNREADABLE:
        assert _judged(fault, _history()) == Dead(reason, failure, counts=True)
    else:
        assert _judged(fault, _history()) == RetryLater(failure, 2.5, counts=True)
    assert _judged(fault, _history(ONCE)) == Dead(reason, failure, called=True, counts=True)
    assert _judged(fault, _history(BEST_EFFORT)) == Dropped(failure)
    assert _judged(fault, _history(failures=19)) == Dead(reason, failure, called=True, counts=True)
    limit = 5 if status in (404, 410) else 20
    if status != 200 or reason not in UNREADABLE:
        assert isinstance(_judged(fault, _history(failures=limit - 2, client_errors_seconds=900.0)), RetryLater)
    assert isinstance(_judged(fault, _history(failures=limit - 1, client_errors_seconds=900.0)), Dead)


@pytest.mark.parametrize("status", [429, 503])
def test_a_cut_answer_that_asks_for_less_does_not_count(status):
    """A 503 is the target's state also when its body did not arrive."""
    fault = NoResponse(Reason.RESET, called=True, status=status)
    assert _judged(fault, _history(failures=1_000)) == RetryLater(Failure(Reason.RESET, status), 2.5, counts=False)
    assert slow_down_seconds(fault, RULES, NOW) == 0.0


@pytest.mark.parametrize("reason", sorted({*NOT_CALLED, Reason.RESET}))
def test_no_call_costs_only_age(reason):
    """Before the first byte nothing was called: the attempt is given back, `once` included, whatever the counters."""
    fault = NoResponse(reason, called=False, detail="why", seconds=1.0)
    failure = Failure(reason, None, "why", 1.0)
    for history in (_history(), _history(ONCE), _history(failures=1_000, attempt=2_000, max_deliveries=1)):
        assert _judged(fault, history) == PutBack(failure)
    assert _judged(fault, _history(BEST_EFFORT)) == Dropped(failure)


def test_too_little_time_to_connect_waits_longer_each_time():
    """A message that gives less time than connecting takes backs off, `once` included, and counts no failure."""
    fault = NoResponse(Reason.TIMEOUT, called=False, seconds=1.0)
    for history in (_history(), _history(ONCE), _history(failures=1_000, max_deliveries=1)):
        assert _judged(fault, history) == RetryLater(Failure(Reason.TIMEOUT, seconds=1.0), 2.5, counts=False)
    assert _judged(fault, _history(BEST_EFFORT)) == Dropped(Failure(Reason.TIMEOUT, seconds=1.0))
    assert isinstance(_judged(fault, _history(age_seconds=259_199.0)), Dead)


@pytest.mark.parametrize("delivery", [REPEATED, ONCE])
def test_no_call_ends_with_age_and_expiry(delivery):
    """A target that stays away ends at give_up_after; a message with an end of its own ends there, uncalled."""
    fault = NoResponse(Reason.CONNECT_FAILED, called=False, seconds=1.0)
    failure = Failure(Reason.CONNECT_FAILED, seconds=1.0)
    assert _judged(fault, _history(delivery, age_seconds=259_198.9)) == PutBack(failure)
    assert _judged(fault, _history(delivery, age_seconds=259_199.0)) == Dead(Reason.GAVE_UP, failure, called=False)
    assert _judged(fault, _history(delivery, expires_in_seconds=1.1)) == PutBack(failure)
    assert _judged(fault, _history(delivery, expires_in_seconds=1.0)) == Dead(Reason.EXPIRED, failure, called=False)
    both = _history(delivery, age_seconds=10**9, expires_in_seconds=10.0)
    assert _judged(fault, both) == Dead(Reason.GAVE_UP, failure, called=False)


@pytest.mark.parametrize("called", [True, False])
def test_a_bad_target_is_dead_at_once(called):
    """What can never be sent is not tried again, and no failure is counted for a call that was none."""
    fault = NoResponse(Reason.BAD_TARGET, called=called)
    failure = Failure(Reason.BAD_TARGET)
    for delivery in (REPEATED, ONCE):
        assert _judged(fault, _history(delivery)) == Dead(Reason.BAD_TARGET, failure, called=called, counts=called)
    assert _judged(fault, _history(BEST_EFFORT)) == Dropped(failure)


def test_a_stopped_call_costs_nothing_but_once():
    """At a stop an uncalled message goes back; a called one is ready at once without a failure, `once` is unknown."""
    stopped, before = NoResponse(Reason.STOPPED, called=True), NoResponse(Reason.STOPPED, called=False)
    failure = Failure(Reason.STOPPED)
    for delivery in Delivery:
        assert _judged(before, _history(delivery, failures=1_000, age_seconds=10**9)) == PutBack()
    assert _judged(stopped, _history(failures=1_000)) == RetryLater(failure, 0.0, counts=False)
    assert _judged(stopped, _history(ONCE)) == Dead(Reason.UNKNOWN, failure, called=True, counts=False)
    assert _judged(stopped, _history(BEST_EFFORT)) == Dropped(failure)


# --------------------------------------------------------------------------------- when again


@pytest.mark.parametrize(
    ("attempt", "random", "wait_seconds"),
    [(1, 0.0, 1.0), (1, 0.5, 2.5), (2, 0.5, 5.0), (4, 0.5, 20.0), (12, 0.5, 1_800.0), (10**6, 0.5, 1_800.0)],
)
def test_the_wait_grows_with_the_attempt(attempt, random, wait_seconds):
    """The wait follows from the attempt and the random number, never under 1 s, and also when nothing counts."""
    for status in (500, 503):
        assert _judged(Answer(status), _history(attempt=attempt), random=random).wait_seconds == wait_seconds


RETRY_AFTER = [
    ("120", 120.0),
    ("0", 2.5),
    ("1", 2.5),
    ("3600", 3_600.0),
    ("3601", 3_600.0),
    ("9" * 500, 3_600.0),
    ("Sun, 06 Nov 1994 08:51:37 GMT", 120.0),
    ("Sunday, 06-Nov-94 08:51:37 GMT", 120.0),
    ("Sun Nov  6 08:51:37 1994", 120.0),
    ("Sun, 06 Nov 1994 08:00:00 GMT", 2.5),
    ("Sun, 06 Nov 2044 08:51:37 GMT", 3_600.0),
    ("-5", 2.5),
    ("soon", 2.5),
    ("", 2.5),
]


@pytest.mark.parametrize(("value", "wait_seconds"), RETRY_AFTER)
def test_retry_after_is_obeyed_within_bounds(value, wait_seconds):
    """Seconds and dates lengthen the wait, up to an hour; they never shorten it, and garbage changes nothing."""
    for status in (302, 404, 409, 429, 500, 503):
        outcome = _judged(Answer(status, {"retry-after": value}), _history())
        assert outcome.wait_seconds == wait_seconds
        assert outcome.counts == (status not in (429, 503))


@pytest.mark.parametrize(
    ("exchange", "seconds"),
    [
        (Answer(503), 0.0),
        (Answer(429), 0.0),
        (Answer(429, {"retry-after": "soon"}), 0.0),
        (Answer(429, {"retry-after": "7"}), 7.0),
        (Answer(503, {"retry-after": "99999"}), 3_600.0),
        (Answer(500, {"retry-after": "7"}), 7.0),
        (Answer(404, {"retry-after": "0"}), 0.0),
        (Answer(300, {"retry-after": "7"}), 7.0),
        (Answer(299, {"retry-after": "7"}), None),
        (Answer(409, {"retry-after": "7"}), 7.0),
        (Answer(409, {"retry-after": "7", "ap4r-busy": "1"}), None),
        (Answer(202, {"retry-after": "7"}), None),
        (Answer(500), None),
        (Answer(500, {"retry-after": "soon"}), None),
        (NoResponse(Reason.CONNECT_FAILED, called=False), None),
        (NoResponse(Reason.TIMEOUT, called=True, status=200), None),
        (NoResponse(Reason.RESET, called=True, status=503), 0.0),
    ],
)
def test_slowing_down(exchange, seconds):
    """429, 503 and a Retry-After on what is no success slow the target; other ends do not."""
    assert slow_down_seconds(exchange, RULES, NOW) == seconds


def test_no_repeat_begins_too_late():
    """A message whose next attempt would begin at or after its end is dead now, not put away until then."""
    answer = Answer(500, seconds=1.5)  # and 2.5 s of waiting
    assert isinstance(_judged(answer, _history(age_seconds=259_195.9)), RetryLater)
    assert _judged(answer, _history(age_seconds=259_196.0)).reason is Reason.GAVE_UP
    assert isinstance(_judged(answer, _history(expires_in_seconds=4.1)), RetryLater)
    assert _judged(answer, _history(expires_in_seconds=4.0)).reason is Reason.EXPIRED
    assert _judged(Answer(503, {"retry-after": "60"}), _history(expires_in_seconds=50.0)).reason is Reason.EXPIRED
    dead = _judged(Answer(503), _history(age_seconds=10**9))
    assert dead == Dead(Reason.GAVE_UP, Failure(Reason.SLOW_DOWN, 503), called=True, counts=False)


def test_max_deliveries_is_named_before_age():
    """The reason of a last failure is the handler's response, even if the message is also too old."""
    assert _judged(Answer(500), _history(failures=19, age_seconds=10**9)).reason is Reason.STATUS


@pytest.mark.parametrize(
    ("age_seconds", "expires_in_seconds", "seconds"),
    [
        (0.0, None, 259_200.0),
        (200.0, None, 259_000.0),
        (259_200.0, None, 0.0),
        (10**9, None, 0.0),
        (0.0, 60.0, 60.0),
        (259_190.0, 60.0, 10.0),
        (0.0, -5.0, 0.0),
        (10**9, -5.0, 0.0),
    ],
)
def test_last_repeat_is_the_nearer_end(age_seconds, expires_in_seconds, seconds):
    """Repeats end at give_up_after or at the message's own end, whichever is nearer, and never before now."""
    history = _history(age_seconds=age_seconds, expires_in_seconds=expires_in_seconds)
    assert last_repeat_seconds(history, RULES) == seconds


# --------------------------------------------------------------------------------- before and without a call


def test_what_expired_is_not_called():
    """A message whose time ran out while it waited is dead as expired, uncalled; best effort is forgotten."""
    assert before_call(_history(expires_in_seconds=0.001), RULES) is None
    for seconds in (0.0, -1.0):
        for delivery in (REPEATED, ONCE):
            dead = before_call(_history(delivery, expires_in_seconds=seconds), RULES)
            assert (dead.reason, dead.called, dead.counts) == (Reason.EXPIRED, False, False)
        assert isinstance(before_call(_history(BEST_EFFORT, expires_in_seconds=seconds), RULES), Dropped)


def test_no_repeat_is_made_after_what_the_first_call_announced():
    """A dispatcher that comes late makes a first call still, but no repeat after give_up_after: Ap4r-Expires holds."""
    for delivery in Delivery:
        assert before_call(_history(delivery, attempt=1, age_seconds=10**9), RULES) is None
    assert before_call(_history(attempt=2, age_seconds=259_199.9), RULES) is None
    dead = before_call(_history(attempt=2, age_seconds=259_200.0), RULES)
    assert (dead.reason, dead.called, dead.counts) == (Reason.GAVE_UP, False, False)


def test_a_crash_counts_and_has_a_cap_of_its_own():
    """An attempt that a dead dispatcher left open is a failure; ten of them, or max_deliveries, are the end."""
    failure = after_crash(_history(), RULES).failure
    assert failure.reason is Reason.CRASH
    assert after_crash(_history(), RULES) == RetryLater(failure, wait_seconds=0.0, counts=True)
    assert after_crash(_history(crashes=8, failures=8), RULES) == RetryLater(failure, wait_seconds=0.0, counts=True)
    assert after_crash(_history(crashes=9), RULES) == Dead(Reason.CRASH, failure, counts=True)
    assert isinstance(after_crash(_history(failures=18), RULES), RetryLater)
    assert after_crash(_history(failures=19), RULES) == Dead(Reason.CRASH, failure, counts=True)
    assert after_crash(_history(max_deliveries=1), RULES) == Dead(Reason.CRASH, failure, counts=True)
    assert isinstance(after_crash(_history(max_deliveries=100, failures=50), RULES), RetryLater)
    assert after_crash(_history(ONCE), RULES) == Dead(Reason.UNKNOWN, failure, counts=True)
    assert after_crash(_history(BEST_EFFORT), RULES) == Dropped(failure)


# --------------------------------------------------------------------------------- whatever comes

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**9), 10**9).map(float)
COUNTS = st.integers(0, 10**12)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "ap4r-retry", "other"]),
    st.text(max_size=30) | st.integers(-10, 10**30).map(str) | st.sampled_from(["no", "Sun Nov  6 08:51:37 1994"]),
)
EXCHANGES = st.one_of(
    st.builds(Answer, st.integers(-1, 1_000), HEADERS, st.binary(max_size=20), NUMBERS),
    st.builds(
        NoResponse,
        st.sampled_from(Reason),
        st.booleans(),
        st.text(max_size=9),
        st.none() | st.integers(-1, 999),
        NUMBERS,
    ),
)
HISTORIES = st.builds(
    History,
    st.sampled_from(Delivery),
    attempt=COUNTS,
    failures=COUNTS,
    age_seconds=NUMBERS,
    expires_in_seconds=st.none() | NUMBERS,
    max_deliveries=st.none() | COUNTS,
    crashes=COUNTS,
)
POSITIVE = st.floats(0, 2**31 - 1)
ANY_RULES = st.builds(
    DeliveryRules,
    success=st.sampled_from(["2xx", "ap4r"]),
    max_deliveries=st.integers(1, 2**31),
    max_deliveries_client_error=st.integers(1, 2**31),
    client_error_seconds=st.floats(0, 10**6),
    max_crashes=st.integers(1, 2**31),
    give_up_after_seconds=POSITIVE,
    retry_after_cap_seconds=POSITIVE,
    backoff=st.builds(Backoff, POSITIVE, st.floats(1, 2**31 - 1), POSITIVE),
)
RANDOM = st.floats(0, 1, exclude_max=True)


@given(EXCHANGES, HISTORIES, ANY_RULES | st.just(RULES), RANDOM, NUMBERS)
def test_judge_keeps_its_promises_whatever_comes(exchange, history, rules, random, now):
    """Always an outcome; `once` is never repeated after a call; waits are bounded; no repeat begins too late."""
    outcome = judge(exchange, history, rules, random, now)
    assert isinstance(outcome, (Delivered, RetryLater, PutBack, Dead, Dropped))
    called = isinstance(exchange, Answer) or exchange.called
    if isinstance(outcome, PutBack):
        assert not called
    if isinstance(outcome, Delivered):
        assert isinstance(exchange, Answer)
        assert 200 <= exchange.status < 300
    if history.delivery is not REPEATED and called:
        assert not isinstance(outcome, (RetryLater, PutBack))
    if isinstance(outcome, Dropped):
        assert history.delivery is BEST_EFFORT
    if isinstance(outcome, Dead):
        assert outcome.called == called
        assert called or not outcome.counts
    if isinstance(outcome, RetryLater):
        # Without its description, or the time to connect, no request could be written: that backs off like a call.
        assert called or exchange.reason in (Reason.NO_DESCRIPTION, Reason.TIMEOUT)
        caps = (rules.backoff.floor_seconds, rules.backoff.cap_seconds, rules.retry_after_cap_seconds)
        least = 0.0 if outcome.failure.reason is Reason.STOPPED else 1.0
        assert least <= outcome.wait_seconds <= max(caps)
        assert exchange.seconds + outcome.wait_seconds < last_repeat_seconds(history, rules)


@given(HISTORIES, ANY_RULES)
def test_before_call_and_after_crash_keep_their_promises_whatever_comes(history, rules):
    """`once` is never repeated after a crash, a wait is never negative, and what is announced is never NaN."""
    crashed, early = after_crash(history, rules), before_call(history, rules)
    assert isinstance(crashed, {REPEATED: (RetryLater, Dead), ONCE: Dead, BEST_EFFORT: Dropped}[history.delivery])
    assert early is None or isinstance(early, Dropped if history.delivery is BEST_EFFORT else Dead)
    assert last_repeat_seconds(history, rules) >= 0 and not math.isnan(last_repeat_seconds(history, rules))


@given(st.integers(1, 30))
def test_a_handler_that_always_fails_is_called_max_deliveries_times(max_deliveries):
    """From the first attempt to the dead letter there are exactly so many calls."""
    failures = attempts = 0
    outcome = None
    while not isinstance(outcome, Dead):
        attempts += 1
        outcome = _judged(Answer(500), _history(attempt=attempts, failures=failures, max_deliveries=max_deliveries))
        failures += outcome.counts
    assert attempts == failures == max_deliveries


@pytest.mark.parametrize("reason", sorted(UNREADABLE))
def test_a_success_that_cannot_be_read_is_called_once(reason):
    """Its work is probably done: a dead letter at once, with the answer's bytes. Another status is tried again."""
    fault = NoResponse(reason, True, "it is no HTTP", status=201, body=b"a\xff\nb")
    dead = _judged(fault, _history())
    assert isinstance(dead, Dead)
    assert dead.failure.detail == "it is no HTTP\na\\xff\nb"
    unread = Answer(200, body=b"<\x81>", reading=ResponseReading(Reason.BAD_RESPONSE, "no XML"))
    dead = _judged(unread, _history())
    assert isinstance(dead, Dead)
    assert (dead.reason, dead.failure.detail) == (Reason.BAD_RESPONSE, "no XML\n<\\x81>")
    assert isinstance(_judged(replace(fault, status=None), _history()), RetryLater)
    assert isinstance(_judged(replace(fault, status=500), _history()), RetryLater)

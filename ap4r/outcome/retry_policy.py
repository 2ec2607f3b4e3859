"""What an exchange means for its message: pure rules, on the facts of the exchange and the message's history.

They do no I/O and read no clock.
"""

from __future__ import annotations

from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Delivered, DeliveryRules, Dropped, Failure, History, Outcome, PutBack, RetryLater
from ap4r.outcome.response import BUSY_HEADER, UNREADABLE, Answer, Exchange, Reason, retry_after_seconds

#: Before a call: failures that no further attempt can correct.
_HOPELESS = frozenset({Reason.BAD_TARGET, Reason.REFUSED_ADDRESS, Reason.NOT_ENCODABLE, Reason.BAD_DESCRIPTION})
#: Answers that are about the target's load or deployment, not the message; the rest of 4xx has a smaller cap.
_PATIENT_CLIENT_ERRORS = frozenset({408, 409, 425, 429})
_GONE = frozenset({410, 489})
#: From one of our own servers they are about its settings, not about the message, and a person has to correct them.
UNAUTHORISED = frozenset({401, 403})
_SLOW_DOWN = frozenset({429, 503})
#: Not called, and not because of the target, which must not be held for it: a message that cannot be described yet, or
#: that allows less time than connecting takes, waits by itself.
_PUT_OFF = frozenset({Reason.NO_DESCRIPTION, Reason.TIMEOUT})
#: Calls that were made and do not count as failures of the message.
_FREE = frozenset({Reason.STOPPED, Reason.BUSY})


def judge(
    exchange: Exchange, history: History, rules: DeliveryRules, random: float, now: float, *, own: bool = False
) -> Outcome:
    """Decide what an exchange means for its message.

    A message whose next attempt would begin too late is dead at once.

    :param random: a number from 0 up to 1, for the jitter.
    :param now: Unix seconds of this host, used only to read a Retry-After that is a date.
    :param own: whether a server of the settings was called, the application itself or another upstream.
    """
    if isinstance(exchange, Answer):
        if _is_success(exchange, rules.success):
            return Delivered(exchange.status, exchange.seconds)
        failure, final, called = _failure_of_answer(exchange, rules), _is_final(exchange), True
    else:
        failure = Failure(
            exchange.reason, exchange.status, _with_body(exchange.detail, exchange.body), exchange.seconds
        )
        final, called = exchange.reason in _HOPELESS, exchange.called
    if failure.reason in UNREADABLE and _is_2xx(failure.status):
        # The work is probably done: another call would do it again, and its answer could not be read either.
        final = True
    if failure.reason is Reason.STOPPED and not called:
        return PutBack()
    if history.delivery is Delivery.BEST_EFFORT:
        return Dropped(failure)
    counts = called and failure.reason not in _FREE and failure.status not in _SLOW_DOWN
    if own and failure.status in UNAUTHORISED and history.max_deliveries is None:
        counts = False
    if final:
        return Dead(failure.reason, failure, called=called, counts=counts)
    if not called and failure.reason not in _PUT_OFF:
        return _too_late(failure, failure.seconds, history, rules, called=False, counts=False) or PutBack(failure)
    if called and history.delivery is Delivery.ONCE:
        reason = Reason.UNKNOWN if failure.reason is Reason.STOPPED else failure.reason
        return Dead(reason, failure, counts=counts)
    if counts and history.failures + 1 >= _most_failures(failure, history, rules):
        return Dead(failure.reason, failure, counts=True)
    if failure.reason is Reason.STOPPED:
        # The dispatcher stops; the target did nothing that requires a pause.
        wait_seconds = 0.0
    else:
        wait_seconds = rules.backoff.wait_seconds(history.attempt, random)
        wait_seconds = max(wait_seconds, _asked_seconds(exchange, rules, now) or 0.0)
        if counts and is_client_error(failure):
            wait_seconds = max(wait_seconds, _spread_seconds(history, rules))
    dead = _too_late(failure, failure.seconds + wait_seconds, history, rules, called=called, counts=counts)
    return dead or RetryLater(failure, wait_seconds, counts)


def after_crash(history: History, rules: DeliveryRules) -> Outcome:
    """Decide what happens to a message whose dispatcher died while holding it.

    `history` holds the counters from before the crash; a RetryLater without a wait counts as a crash and a failure.
    """
    failure = Failure(Reason.CRASH, detail="its dispatcher died while the attempt was open")
    if history.delivery is Delivery.BEST_EFFORT:
        return Dropped(failure)
    if history.delivery is Delivery.ONCE:
        return Dead(Reason.UNKNOWN, failure, counts=True)
    limit = rules.max_deliveries if history.max_deliveries is None else history.max_deliveries
    if history.crashes + 1 >= rules.max_crashes or history.failures + 1 >= limit:
        return Dead(Reason.CRASH, failure, counts=True)
    return RetryLater(failure, wait_seconds=0.0, counts=True)


def before_call(history: History, rules: DeliveryRules) -> Outcome | None:
    """Return what to do with a claimed message instead of calling it, or None when it is to be called.

    A first call is made however late it is; a repeat is not made when it is later than the first call announced.
    """
    if history.expires_in_seconds is not None and history.expires_in_seconds <= 0:
        reason, detail = Reason.EXPIRED, "its time ran out before it could be delivered"
    elif history.attempt > 1 and history.age_seconds >= rules.give_up_after_seconds:
        reason, detail = Reason.GAVE_UP, "its next attempt would begin after the time to give up"
    else:
        return None
    failure = Failure(reason, detail=detail)
    if history.delivery is Delivery.BEST_EFFORT:
        return Dropped(failure)
    return Dead(reason, failure, called=False)


def last_repeat_seconds(history: History, rules: DeliveryRules) -> float:
    """Return for how many more seconds an automatic repeat may begin. Requests carry it as Ap4r-Expires."""
    remaining = rules.give_up_after_seconds - history.age_seconds
    if history.expires_in_seconds is not None:
        remaining = min(remaining, history.expires_in_seconds)
    return max(0.0, remaining)


def slow_down_seconds(exchange: Exchange, rules: DeliveryRules, now: float) -> float | None:
    """Return the pause that an exchange asks for: None for no pause, else its seconds (0 when it named none)."""
    if isinstance(exchange, Answer) and _is_busy(exchange):
        # One message is in progress; the server accepts others.
        return None
    asked = _asked_seconds(exchange, rules, now)
    return asked or 0.0 if asked is not None or exchange.status in _SLOW_DOWN else None


def is_client_error(failure: Failure) -> bool:
    """Return whether a failure is the caller's: a 4xx that is not about load, or a fault that a protocol marks so."""
    status = failure.status
    return failure.reason is Reason.CLIENT_FAULT or (
        status is not None and 400 <= status < 500 and status not in _PATIENT_CLIENT_ERRORS
    )


def _asked_seconds(exchange: Exchange, rules: DeliveryRules, now: float) -> float | None:
    headers = exchange.headers if isinstance(exchange, Answer) else {}
    asked = retry_after_seconds(headers.get("retry-after"), now)
    if asked is None or (isinstance(exchange, Answer) and _is_success(exchange, rules.success)):
        return None
    return min(asked, rules.retry_after_cap_seconds)


def _is_success(answer: Answer, rule: str) -> bool:
    if answer.reading is not None:
        return answer.reading.reason is None
    if rule == "ap4r":
        return answer.status == 200 and b"true" in answer.body
    return _is_2xx(answer.status)


def _is_2xx(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def _is_busy(answer: Answer) -> bool:
    return answer.status == 409 and answer.headers.get(BUSY_HEADER, "").strip() == "1"


def _is_final(answer: Answer) -> bool:
    return answer.status in _GONE or answer.headers.get("ap4r-retry", "").strip().lower() == "no"


def _failure_of_answer(answer: Answer, rules: DeliveryRules) -> Failure:
    if answer.status in _GONE:
        reason = Reason.GONE
    elif _is_final(answer):
        reason = Reason.REFUSED
    elif answer.status in _SLOW_DOWN:
        reason = Reason.SLOW_DOWN
    elif answer.reading is not None and answer.reading.reason is not None:
        reason = answer.reading.reason
    elif _is_busy(answer):
        reason = Reason.BUSY
    elif rules.success == "ap4r" and answer.status == 200:
        reason = Reason.NOT_TRUE
    else:
        reason = Reason.STATUS
    detail = answer.reading.detail if answer.reading is not None else ""
    if reason is Reason.BAD_RESPONSE:
        detail = _with_body(detail, answer.body)
    return Failure(reason, answer.status, detail or answer.body.decode("utf-8", "replace"), answer.seconds)


def _with_body(detail: str, body: bytes) -> str:
    """Return the kept part of an answer that could not be read: text, and its bytes without loss."""
    text = body.decode("utf-8", "backslashreplace")
    return f"{detail}\n{text}" if detail and text else detail or text


def _too_late(
    failure: Failure, in_seconds: float, history: History, rules: DeliveryRules, *, called: bool, counts: bool
) -> Dead | None:
    # Written so that NaN, which is neither less nor greater than anything, is too late.
    if in_seconds < last_repeat_seconds(history, rules):
        return None
    expires = history.expires_in_seconds
    reason = Reason.EXPIRED if expires is not None and in_seconds >= expires else Reason.GAVE_UP
    return Dead(reason, failure, called=called, counts=counts)


def _most_failures(failure: Failure, history: History, rules: DeliveryRules) -> int:
    if history.max_deliveries is not None:
        return history.max_deliveries
    # During a rollout, servers of the old version do not know the actions of the new one.
    if is_client_error(failure) and history.client_errors_seconds >= rules.client_error_seconds:
        return min(rules.max_deliveries, rules.max_deliveries_client_error)
    return rules.max_deliveries


def _spread_seconds(history: History, rules: DeliveryRules) -> float:
    """Return the shortest wait after a client error with which the remaining calls take `client_error_seconds`.

    Each wait is at least twice as long as the one before, so with the usual back-off this is rarely the longer one.
    """
    left_seconds = rules.client_error_seconds - history.client_errors_seconds
    left_calls = rules.max_deliveries - history.failures - 1
    if history.max_deliveries is not None or left_seconds <= 0.0 or left_calls <= 0:
        return 0.0
    return left_seconds / (2.0 ** min(left_calls, 60) - 1.0)

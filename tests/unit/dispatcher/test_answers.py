"""Every way in which a target can answer, and what becomes of the message: through the real HTTP client."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from ap4r.events import events
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Delivered, Dropped, PutBack, Reason, RetryLater
from ap4r.settings.settings import Settings
from tests.support.factories import NOW, message
from tests.unit.dispatcher.world import CLOSE, RESET, World, http

URL = "http://target.example/call"
HALF_HEADER = [b"HTTP/1.1 200 OK\r\nContent-Le"]
HALF_BODY = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"]
HALF_CHUNK = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
ENDLESS = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *[b"x" * 65_536] * 40, 60.0]

#: name, what the target does, reason, status, whether it counts against max_deliveries
FAILURES = [
    ("301", http(301, b"", "Location: http://other.example/"), Reason.STATUS, 301, True),
    ("400", http(400), Reason.STATUS, 400, True),
    ("404", http(404), Reason.STATUS, 404, True),
    ("429", http(429), Reason.SLOW_DOWN, 429, False),
    ("429 seconds", http(429, b"", "Retry-After: 120"), Reason.SLOW_DOWN, 429, False),
    ("429 date", http(429, b"", f"Retry-After: {formatdate(NOW + 120, usegmt=True)}"), Reason.SLOW_DOWN, 429, False),
    ("409", http(409), Reason.STATUS, 409, True),
    ("our 409", http(409, b"", "Retry-After: 1", "Ap4r-Busy: 1"), Reason.BUSY, 409, False),
    ("500", http(500), Reason.STATUS, 500, True),
    ("503", http(503), Reason.SLOW_DOWN, 503, False),
    ("never", [100.0], Reason.TIMEOUT, None, True),
    ("half a header, then silence", [*HALF_HEADER, 100.0], Reason.TIMEOUT, None, True),
    ("half a header, then closed", [*HALF_HEADER, CLOSE], Reason.RESET, None, True),
    ("half a body, then silence", [*HALF_BODY, 100.0], Reason.TIMEOUT, 200, True),
    ("half a body, then closed", [*HALF_BODY, CLOSE], Reason.RESET, 200, True),
    ("half a body, then reset", [*HALF_BODY, RESET], Reason.RESET, 200, True),
    ("chunks without an end", [*HALF_CHUNK, CLOSE], Reason.RESET, 200, True),
    ("reset", [RESET], Reason.RESET, None, True),
    ("closed without a word", [CLOSE], Reason.RESET, None, True),
    ("not HTTP", [b"220 smtp.example ready\r\n\r\n"], Reason.BAD_RESPONSE, None, True),
]  # fmt: skip
NAMES = [name for name, *_ in FAILURES]


def deliver(script, delivery=Delivery.REPEATED, **settings):
    """Deliver one message to a target that answers so; return its outcome and the world."""
    # So that nothing is repeated while the test looks.
    world = World(Settings(bell="none", listen="none", backoff_first_seconds=400, **settings)).start()
    world.targets.scripts["/call"] = script
    world.put(message(url=URL, upstream=None, delivery=delivery))
    world.pass_time(40, step=0.1)
    assert len(world.targets.received) == 1, "called more than once, or not at all"
    [settled] = world.told(events.Settled)
    return settled.outcome, world


@pytest.mark.parametrize("status", [200, 201, 204, 299])
@pytest.mark.parametrize("delivery", list(Delivery))
def test_success(status, delivery):
    """Every 2xx delivers, whatever the delivery rule."""
    outcome, world = deliver([*http(status), 100.0], delivery)
    assert isinstance(outcome, Delivered)
    assert outcome.status == status
    assert world.database.records == {}


@pytest.mark.parametrize(("name", "script", "reason", "status", "counts"), FAILURES, ids=NAMES)
def test_a_repeated_message_is_tried_again(name, script, reason, status, counts):
    """A failure leads to a further attempt; only the handler's own count against max_deliveries."""
    outcome, _ = deliver(script)
    assert isinstance(outcome, RetryLater)
    assert (outcome.failure.reason, outcome.failure.status, outcome.counts) == (reason, status, counts)


@pytest.mark.parametrize(("name", "script", "reason", "status", "counts"), FAILURES, ids=NAMES)
def test_a_once_message_is_dead(name, script, reason, status, counts):
    """A call that did not succeed is the only one."""
    outcome, world = deliver(script, Delivery.ONCE)
    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.called) == (reason, True)
    [record] = world.database.records.values()
    assert (record.state, record.attempt) == ("dead", 1)


@pytest.mark.parametrize(("name", "script", "reason", "status", "counts"), FAILURES, ids=NAMES)
def test_best_effort_is_forgotten(name, script, reason, status, counts):
    """One try, and nothing is left."""
    outcome, world = deliver(script, Delivery.BEST_EFFORT)
    assert isinstance(outcome, Dropped)
    assert world.database.records == {}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (http(410), Reason.GONE),
        (http(489), Reason.GONE),
        (http(500, b"", "Ap4r-Retry: no"), Reason.REFUSED),
    ],
)
def test_given_up_at_once(script, reason):
    """410, 489 and `Ap4r-Retry: no` make a dead letter of a repeated message."""
    outcome, _ = deliver(script)
    assert isinstance(outcome, Dead)
    assert outcome.reason is reason


@pytest.mark.parametrize("header", ["Retry-After: 900", f"Retry-After: {formatdate(NOW + 900, usegmt=True)}"])
def test_retry_after_is_obeyed(header):
    """The wait is at least what the target named, as seconds or as a date."""
    outcome, _ = deliver(http(429, b"", header))
    assert outcome.wait_seconds == pytest.approx(900, abs=1)


def test_a_body_that_ends_with_its_connection_is_whole():
    """Without Content-Length the end of the connection is the end of the body (RFC 9112, 6.3)."""
    outcome, _ = deliver([b"HTTP/1.0 200 OK\r\n\r\n", b"all of it", CLOSE])
    assert isinstance(outcome, Delivered)


@pytest.mark.parametrize(
    ("body", "delivered"),
    [(b"true", True), (b"<x>true</x>", True), (b"x" * 500_000 + b"true", True), (b"false", False), (b"", False)],
)
def test_the_original_rule_of_success(body, delivered):
    """With success = "ap4r" a 200 delivers whose whole body, not only what is kept of it, has "true" in it."""
    outcome, _ = deliver(http(200, body), success="ap4r")
    assert isinstance(outcome, Delivered) is delivered


def test_the_original_rule_wants_200():
    """With success = "ap4r" no other 2xx delivers."""
    outcome, _ = deliver(http(201, b"true"), success="ap4r")
    assert isinstance(outcome, RetryLater)


def test_what_is_kept_of_a_failure_is_bounded():
    """A person finds the beginning of the answer with the failure, and no more than was agreed."""
    outcome, _ = deliver(http(500, b"x" * 10_000), response_kept_bytes=100)
    assert outcome.failure.detail == "x" * 100


def test_the_deadline_is_the_messages_own():
    """`timeout_seconds` of a message wins over the setting, and covers the body."""
    world = World().start()
    world.targets.scripts["/call"] = [*HALF_BODY, 100.0]
    world.put(message(url=URL, upstream=None, timeout_seconds=2.0))
    world.pass_time(1.9)
    assert not world.told(events.CallEnded)
    world.pass_time(0.2)
    [ended] = world.told(events.CallEnded)
    assert ended.outcome.failure.reason is Reason.TIMEOUT
    assert world.targets.connections[0].lost


NOT_CALLED = [
    ("refused", "refusing", Reason.CONNECT_FAILED),
    ("stuck", "stuck", Reason.CONNECT_TIMEOUT),
]


@pytest.mark.parametrize("delivery", [Delivery.REPEATED, Delivery.ONCE])
@pytest.mark.parametrize(("name", "how", "reason"), NOT_CALLED)
def test_what_was_not_called_costs_nothing(name, how, reason, delivery):
    """Without a byte written the attempt is given back, also that of a `once` message, and the target is held."""
    world = World().start()
    getattr(world.targets, how).add("target.example:80")
    one = message(url=URL, upstream=None, delivery=delivery)
    world.put(one)
    world.pass_time(5.5)
    outcome = world.told(events.Settled)[0].outcome
    assert isinstance(outcome, PutBack)
    assert outcome.failure is not None
    assert outcome.failure.reason is reason
    assert world.told(events.TargetHeld)[0].origin == "http://target.example"
    record = world.database.records[one.id]
    getattr(world.targets, how).clear()
    world.pass_time(60, step=0.05)
    assert world.state_of(one) is None, record
    assert world.targets.received[0].headers["ap4r-attempt"] == "1"

"""lines, log and observer: what is logged, where, and what never is."""

from __future__ import annotations

import io
import json
import logging
import re
import typing

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure as Trouble

from ap4r.dispatcher.log import output
from ap4r.dispatcher.log.messages import Line, failure_words, line_of, without_query
from ap4r.dispatcher.log.output import Forwarded, LineObserver
from ap4r.dispatcher.log.subscriber import RETRIES_A_SECOND, Log
from ap4r.events import events
from ap4r.outcome.outcome import Dead, Delivered, Dropped, Failure, PutBack, Reason, RetryLater

SECRET = "s3cret-in-the-answer"
ANSWERED = Failure(Reason.STATUS, 500, SECRET, 0.1)
OUTCOMES = [
    Delivered(200, 0.1),
    RetryLater(ANSWERED, 4.0, True),
    Dead(Reason.GONE, ANSWERED),
    Dead(Reason.EXPIRED, None, called=False),
    Dropped(ANSWERED),
    PutBack(),
    PutBack(Failure(Reason.CONNECT_FAILED, detail="Connection refused")),
]
ONE_OF_EACH = [
    events.DispatcherStarted("o", "sqlite:////x.db", "udp://127.0.0.1:9"),
    events.DispatcherStarted("o", "sqlite:////x.db", ""),
    events.DispatcherStopping("o", "sqlite:////x.db", 3, 25.0),
    events.DispatcherStopped("o", "sqlite:////x.db", 2),
    events.DispatcherReloaded(("memory",)),
    events.ReloadFailed("setting concurrency: 0 is not a number"),
    events.RestartNeeded(("listen", "store")),
    events.Serving("health", "http://127.0.0.1:7438/healthz"),
    events.ClockStepped(-20.0),
    events.ClockStepped(86_400.0),
    events.MachineSlept(3_600.0),
    events.StoodStill(29.5),
    events.Claimed(3),
    events.CallStarted("m", "q", f"http://h/x?token={SECRET}", 1),
    *(events.CallEnded("m", "q", f"http://h/x?token={SECRET}", 2, outcome, 0.1) for outcome in OUTCOMES),
    *(events.Settled("m", "q", outcome) for outcome in OUTCOMES),
    events.LeaseLost("m", "q"),
    events.TargetHeld("http://h", 4.0, ANSWERED),
    events.TargetReleased("http://h"),
    events.QueueHeld("queue.a", "http://h", 4.0, ANSWERED),
    events.QueueReleased("queue.a", "http://h"),
    events.TargetCut("http://h", 1, ANSWERED),
    events.TurnedAway("queue.a", "/do?a=1", 403, "set host"),
    events.QueueFeedsItself("queue.a", "/do?a=1", 10),
    events.Unanswered("queue.a", "/do?a=1", 64, "lower concurrency"),
    events.ServerTakenBack("app", "http://a:1"),
    events.ServerLeftOut("app", "http://a:1", 2.0),
    events.DispatcherDied("o", 3, 2, 1),
    events.OwnerWasLost("o"),
    events.StoreFailed("sqlite:////x.db", "claim", "database is locked", 0.1),
    events.StoreRecovered("sqlite:////x.db", 3.0),
    events.Unexpected("claim", "Traceback (most recent call last):\n  ZeroDivisionError"),
]


class Written:
    """A log on a fake clock, with its lines."""

    def __init__(self, *, debug=False):
        self.clock = Clock()
        self.lines: list[Line] = []
        self.log = Log(self.clock, self.lines.append, lambda: debug)

    def texts(self, name):
        """Return the texts of one kind of line."""
        return [line.text for line in self.lines if line.name == name]


class TestLines:
    def test_every_kind_of_event_is_tried_here(self):
        """A new event must be thought of."""
        assert {type(event) for event in ONE_OF_EACH} == set(typing.get_args(events.Event))

    @pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
    def test_no_line_holds_what_a_target_said_or_a_query(self, event):
        """Bodies and secrets are never logged, in text or fields; and fields can be written as JSON."""
        line = line_of(event)
        if line is not None:
            assert SECRET not in line.text
            assert SECRET not in json.dumps(line.fields)
            assert line.level in ("debug", "info", "warn", "error")

    def test_each_delivery_only_at_debug(self):
        """Successes are logged in summaries."""
        assert line_of(events.Settled("m", "q", Delivered())) is None
        line = line_of(events.CallEnded("m", "q", "/x", 1, Delivered(200), 0.0123))
        assert line is not None
        assert (line.level, line.text) == ("debug", "delivered 200: message m of q to /x, attempt 1, 12 ms")

    def test_failures_are_said_in_words(self):
        """With the status when there is one, else with what kept us from connecting."""
        assert failure_words(Failure(Reason.STATUS, 500, "body")) == "status 500"
        assert failure_words(Failure(Reason.CONNECT_FAILED, detail="refused")) == "connect failed (refused)"
        assert failure_words(Failure(Reason.BAD_RESPONSE, detail=SECRET)) == "bad response"
        assert failure_words(None) == "unknown"

    def test_a_url_without_its_query(self):
        """Paths are logged."""
        assert without_query("http://h/x?a=1") == "http://h/x"


class TestLog:
    def test_retries_are_reported_up_to_a_number_and_then_counted(self):
        """Ten a second and queue; the summary says how many more there were."""
        written = Written()
        for _ in range(50):
            written.log(events.Settled("m", "q", RetryLater(ANSWERED, 4.0, True)))
        written.log(events.Settled("m", "other", RetryLater(ANSWERED, 4.0, True)))
        assert len(written.texts("retry")) == RETRIES_A_SECOND + 1
        written.clock.advance(1.0)
        written.log(events.Settled("m", "q", RetryLater(ANSWERED, 4.0, True)))
        assert len(written.texts("retry")) == RETRIES_A_SECOND + 2
        written.clock.advance(60)
        assert "51 retries" in written.texts("summary")[0]
        assert "40 lines were left out" in written.texts("summary")[0]

    def test_every_dead_letter_is_reported(self):
        """However many."""
        written = Written()
        for _ in range(50):
            written.log(events.Settled("m", "q", Dead(Reason.GONE, ANSWERED)))
        assert len(written.texts("dead")) == 50

    def test_one_summary_a_queue_and_minute(self):
        """And none for a minute in which nothing happened."""
        written = Written()
        for second in range(130):
            written.log(events.Settled("m", "busy", Delivered()))
            if second == 0:
                written.log(events.Settled("m", "quiet", Delivered()))
            written.clock.advance(1.0)
        assert len([text for text in written.texts("summary") if "queue busy" in text]) == 2
        assert written.texts("summary")[:2] == [
            "queue busy, last minute: 60 delivered, 0 retries, 0 dead, 0 dropped",
            "queue quiet, last minute: 1 delivered, 0 retries, 0 dead, 0 dropped",
        ]
        written.clock.advance(600)
        assert len(written.texts("summary")) == 4
        assert written.clock.getDelayedCalls() == []

    def test_summaries_are_bounded(self):
        """Thousands of queues are not thousands of lines."""
        written = Written()
        for number in range(1_000):
            written.log(events.Settled("m", f"q{number}", Delivered()))
        written.clock.advance(60)
        assert len(written.texts("summary")) == 101
        assert written.texts("summary")[-1].startswith("900 other queues, last minute: 900 delivered")

    def test_the_last_summary_is_not_lost(self):
        """Closing sums up."""
        written = Written()
        written.log(events.Settled("m", "q", Delivered()))
        written.log.close()
        assert len(written.texts("summary")) == 1
        written.log.close()
        assert written.clock.getDelayedCalls() == []

    def test_an_outage_is_reported_now_and_then(self):
        """Not at each try, but at once when another kind of call begins to fail."""
        written = Written()
        for _ in range(100):
            written.log(events.StoreFailed("s", "claim", "locked", 0.1))
            written.clock.advance(0.25)
        written.log(events.StoreFailed("s", "settle", "locked", 0.1))
        assert len(written.texts("store_failed")) == 3
        for _ in range(3):
            written.log(events.StoreRecovered("s", 25.0))
            written.log(events.StoreFailed("s", "claim", "locked", 0.1))
        assert len(written.texts("store_failed")) == 3
        assert len(written.texts("store_recovered")) == 1
        written.clock.advance(10.0)
        written.log(events.StoreFailed("s", "claim", "locked", 0.1))
        assert len(written.texts("store_failed")) == 4

    @pytest.mark.parametrize("debug", [True, False])
    def test_calls_are_reported_at_debug(self, debug):
        """And cost no text otherwise."""
        written = Written(debug=debug)
        written.log(events.CallEnded("m", "q", "/x", 1, Delivered(200), 0.01))
        assert len(written.lines) == int(debug)


class Observed:
    """A publisher of Twisted's log with our observer on it."""

    def __init__(self, level="info", format="text"):
        self.output = io.StringIO()
        self.observer = LineObserver(self.output, level, format)
        self.publisher = LogPublisher(self.observer)

    def logger(self, namespace):
        """Return a logger of this name."""
        return Logger(namespace=namespace, observer=self.publisher)

    def line(self, line):
        """Write one of our lines."""
        self.logger("ap4r").emit(LogLevel.info, "{ap4r_line.text}", ap4r_line=line)

    def lines(self):
        """Return what was printed, without the time."""
        return [line.partition(" ")[2] for line in self.output.getvalue().splitlines()]


class TestObserver:
    def test_one_line_an_event(self):
        """Time with its zone, level, the event's name as the docs have it, text."""
        observed = Observed()
        observed.line(Line("info", "started", "it works"))
        [line] = observed.output.getvalue().splitlines()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4} info  started: it works", line)

    def test_json(self):
        """One object a line, with time, level, event, text and the facts."""
        observed = Observed(format="json")
        observed.line(Line("warn", "held", "target é is held", {"origin": "é", "seconds": 1.5}))
        record = json.loads(observed.output.getvalue())
        assert record.pop("at").endswith("Z")
        assert record == {"level": "warn", "event": "held", "text": "target é is held", "origin": "é", "seconds": 1.5}

    @pytest.mark.parametrize(
        ("level", "told"),
        [("debug", ["debug", "info", "warn", "error"]), ("info", ["info", "warn", "error"]), ("error", ["error"])],
    )
    def test_levels(self, level, told):
        """What is below is not printed."""
        observed = Observed(level)
        for word in ("debug", "info", "warn", "error"):
            observed.line(Line(word, "x", word))
        assert [line.split()[0] for line in observed.lines()] == told
        assert observed.observer.wants_debug() is (level == "debug")

    def test_of_others_come_warnings_and_errors(self):
        """What Twisted says for its own sake does not."""
        observed = Observed()
        logger = observed.logger("twisted.web.server")
        logger.info("Starting factory")
        logger.warn("something odd")
        logger.critical("something bad")
        assert observed.lines() == [
            "warn  twisted.web.server: something odd",
            "error twisted.web.server: something bad",
        ]

    def test_what_the_application_prints_comes(self):
        """On standard output and standard error."""
        observed = Observed()
        observed.logger("stdout").info("{log_io}", log_io="hello")
        observed.logger("stderr").error("{log_io}", log_io="oh")
        assert observed.lines() == ["info  stdout: hello", "info  stderr: oh"]

    def test_a_failure_comes_with_its_traceback(self):
        """Indented, so that it reads as one event."""
        observed = Observed()
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            observed.logger("twisted").failure("while answering", Trouble())
        first, *rest = observed.output.getvalue().splitlines()
        assert first.endswith("error twisted: while answering")
        assert any("ZeroDivisionError" in line for line in rest)
        assert all(line.startswith("    ") for line in rest)

    def test_an_output_that_is_gone_does_not_stop_the_work(self):
        """There is no reader; nothing is raised."""
        observed = Observed()
        observed.output.close()
        observed.line(Line("info", "x", "text"))

    def test_level_and_format_can_change(self):
        """As a reload does."""
        observed = Observed("error")
        observed.observer.level = "info"
        observed.observer.format = "json"
        observed.line(Line("info", "x", "text"))
        assert json.loads(observed.output.getvalue())["text"] == "text"


@pytest.mark.parametrize(
    ("logged", "level"),
    [("debug", "debug"), ("info", "info"), ("warning", "warn"), ("error", "error"), ("critical", "error")],
)
def test_what_other_parts_of_ap4r_log_keeps_its_level(monkeypatch, logged, level):
    """What the stores and the middleware tell the standard library's log is a line of the dispatcher's, as grave."""
    lines = []
    monkeypatch.setattr(output, "write_line", lines.append)
    logger = logging.Logger("ap4r.storage")
    logger.addHandler(Forwarded())
    getattr(logger, logged)("store %s: %d messages", "x", 3)
    assert lines == [Line(level, "ap4r.storage", "store x: 3 messages")]

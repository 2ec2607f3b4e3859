"""What the answer to a put through an intake means."""

from __future__ import annotations

import json

import pytest

from ap4r.outbox.intake_client.answer import IntakeAnswer, PutFailure, worst_of

IDS = ["01a20ade-e73a-7585-a031-20fdf826d68a", "01a20ade-e73b-7000-a031-20fdf826d68a"]


def answer(status, told, retry_after=""):
    """Create an answer of JSON."""
    return IntakeAnswer(status, json.dumps(told).encode(), retry_after)


def test_an_intake_names_the_ids():
    """Only 202 with exactly the ids that were sent, in their order, is an acknowledgement."""
    assert answer(202, {"ids": IDS}).acknowledges(IDS)


@pytest.mark.parametrize(
    "given",
    [
        answer(200, {"ids": IDS}),
        answer(202, {"ids": IDS[:1]}),
        answer(202, {"ids": [*IDS, "x"]}),
        answer(202, {"ids": IDS[::-1]}),
        answer(202, {"ids": None}),
        answer(202, {"id": IDS[0]}),
        answer(202, IDS),
        answer(202, "ok"),
        answer(202, None),
        answer(204, {}),
        answer(302, {}),
        answer(404, {}),
        IntakeAnswer(202, b""),
        IntakeAnswer(200, b"<h1>Welcome</h1>"),
        IntakeAnswer(202, b"[" * 100_000),
        IntakeAnswer(202, b"\xff"),
        IntakeAnswer(405, b"Method Not Allowed"),
    ],
)
def test_what_is_no_intake_is_reported(given):
    """Any other success, and an error that is not an intake's, is the response of another server."""
    assert not given.acknowledges(IDS)
    assert given.failure.is_no_intake
    assert "application's URL" in given.failure.problem
    assert not given.refuses


def test_a_refusal_is_an_intakes():
    """It has a message and advice, which the error contains."""
    given = answer(422, {"message": "queue: no", "advice": "correct this field", "outcome_unknown": False})
    assert given.refuses
    assert not given.failure.is_no_intake
    assert "queue: no" in given.failure.text
    assert "correct this field" in given.failure.text


@pytest.mark.parametrize(
    ("given", "unknown"),
    [
        (answer(503, {"message": "x", "outcome_unknown": True}), True),
        (answer(503, {"message": "x", "outcome_unknown": False}), False),
        (answer(500, {"message": "x"}), True),
        (IntakeAnswer(502, b"bad gateway"), True),
        (answer(429, {"message": "x"}), False),
    ],
)
def test_whether_it_may_be_stored_all_the_same(given, unknown):
    """An intake knows; what a proxy says about one tells nothing."""
    assert given.failure.outcome_unknown is unknown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("", 0.0), ("soon", 0.0), ("-1", 0.0), ("1.5", 0.0), ("\u0663", 0.0), ("9" * 9, 0.0)],
)
def test_retry_after_is_whole_seconds(text, seconds):
    """What is no number of seconds is as good as absent."""
    assert answer(503, {"message": "busy"}, text).failure.retry_after_seconds == seconds


def test_no_advice_speaks_for_what_was_lost():
    """'Nothing was stored' is never said beside an unknown outcome, of whichever host that is."""
    busy = PutFailure("busy", "send it again later; nothing was stored", retry_after_seconds=3.0)
    lost = PutFailure("no answer in time", outcome_unknown=True)
    assert "nothing was stored" in worst_of([busy]).text
    worst = worst_of([lost, busy])
    assert worst.outcome_unknown
    assert "nothing was stored" not in worst.text
    assert worst.retry_after_seconds == 0.0
    assert worst_of([]).problem == "no time was left"


def test_one_intake_among_others_makes_it_worth_waiting():
    """The URL is certainly wrong only if none of the servers is an intake."""
    other = PutFailure("other", is_no_intake=True)
    assert worst_of([other, other]).is_no_intake
    assert not worst_of([other, PutFailure("away")]).is_no_intake

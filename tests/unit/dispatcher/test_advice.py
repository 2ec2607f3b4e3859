"""advice: why an application turned a delivery away, and which setting lets it in."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.delivery.caller_identity import PLAIN, CallerIdentity
from ap4r.dispatcher.delivery.misconfiguration_hints import (
    AGAIN_SECONDS,
    MOST_REMEMBERED,
    MisconfigurationHints,
    advise,
)
from ap4r.events import events
from ap4r.outcome.outcome import Answer, NoResponse, Reason
from ap4r.settings.settings import Settings
from tests.support.factories import message, messages
from tests.support.signed import secret
from tests.unit.dispatcher.world import World, http

HTTPS = CallerIdentity("shop.example.com", "https", (secret(1),))


@pytest.mark.parametrize(
    ("answer", "caller", "words"),
    [
        (Answer(301, {"location": "https://shop.example.com/do"}), PLAIN, "SECURE_SSL_REDIRECT); set scheme"),
        (Answer(308, {"location": "https://10.0.0.5:8000/do"}), PLAIN, "set scheme"),
        (Answer(301, {"location": "https://shop.example.com/do"}), HTTPS, "SECURE_PROXY_SSL_HEADER"),
        (Answer(301, {"location": "http://www.example.com/do"}), PLAIN, "set host of [upstreams.app] to 'www.example"),
        (Answer(301, {"location": "/do/"}), HTTPS, "'/do/', with another slash"),
        (Answer(302, {"location": "/login?next=secret"}), HTTPS, "is a login required"),
        (Answer(301), PLAIN, "never followed"),
        (Answer(301, {"location": "http://[bad"}), PLAIN, "never followed"),
        (Answer(400), PLAIN, "ALLOWED_HOSTS); set host of [upstreams.app]"),
        (Answer(400), HTTPS, "answer to the host shop.example.com"),
        (Answer(401), PLAIN, "it requires credentials: see auth of [upstreams.app]"),
        (Answer(401), CallerIdentity(authorization=b"Bearer x"), "other credentials than auth of [upstreams.app]"),
        (Answer(403), PLAIN, "ap4r init"),
        (Answer(403), HTTPS, "ap4r.contrib.django"),
        (Answer(403, body=b"ap4r: this path accepts only signed deliveries.\n"), PLAIN, "a secret is missing"),
        (Answer(403, body=b"ap4r: this path accepts only signed deliveries.\n"), HTTPS, "does not share"),
    ],
)
def test_the_likely_cause_and_the_setting_are_named(answer, caller, words):
    """A redirect, a 400 or a 403 is explained by what is set and what is not; no query and no secret is quoted."""
    advice = advise(answer, "/do?token=secret", "app", caller)
    assert words in advice
    assert "=secret" not in advice


@pytest.mark.parametrize("status", [404, 409, 422, 429, 500, 503, 410, 200])
def test_other_answers_are_the_handlers_business(status):
    """Nothing is guessed about them."""
    assert advise(Answer(status), "/do", "app", PLAIN) is None


def test_only_the_own_application_is_advised_on():
    """What another host answers is not ours to set; nor is there advice where no answer came."""
    advice = MisconfigurationHints()
    assert advice.about(message(url="http://a.example/", upstream=None), PLAIN, Answer(403), 0.0) is None
    assert advice.about(message(), PLAIN, NoResponse(Reason.RESET, True, status=403), 0.0) is None
    assert advice.about(message(), PLAIN, Answer(403), 0.0)


def test_the_same_is_said_once_in_a_while():
    """A thousand refusals of a queue are one line in ten minutes; another queue or status is another line."""
    advice = MisconfigurationHints()
    told = [advice.about(message(), PLAIN, Answer(403), float(second)) for second in range(int(AGAIN_SECONDS) + 1)]
    assert [second for second, one in enumerate(told) if one] == [0, AGAIN_SECONDS]
    assert advice.about(message("queue.b"), PLAIN, Answer(403), 1.0)
    assert advice.about(message(), PLAIN, Answer(400), 1.0)


def test_what_is_remembered_is_bounded():
    """Queues without number cost no memory without end."""
    advice = MisconfigurationHints()
    for number in range(MOST_REMEMBERED * 2 + 1):
        advice.about(message(f"queue.{number}"), PLAIN, Answer(403), 0.0)
    assert len(advice._told_at) <= MOST_REMEMBERED


def test_a_dispatcher_shows_it():
    """The event comes with the call's end, for the target as a whole."""
    world = World(Settings(bell="none", listen="none", app_urls=("http://a:1",))).start()
    world.targets.scripts["/do"] = http(301, b"", "Location: https://a/do")
    world.put(message(), message())
    world.pass_time(1.0)
    [told] = world.told(events.TurnedAway)
    assert (told.status, told.target) == (301, "/do")
    assert "scheme" in told.advice


SILENT = NoResponse(Reason.TIMEOUT, called=True)


@pytest.mark.parametrize(
    ("exchange", "in_flight", "warned"),
    [
        (SILENT, 64, True),
        (SILENT, 2, True),
        (SILENT, 1, False),
        (NoResponse(Reason.TIMEOUT, called=False), 64, False),
        (NoResponse(Reason.RESET, called=True), 64, False),
        (Answer(500), 64, False),
    ],
)
def test_silence_is_explained_where_calls_may_wait_for_each_other(exchange, in_flight, warned):
    """A call that was made and not answered in time, with others in flight, points to the number of calls at once."""
    advice = MisconfigurationHints().about_silence(message(), exchange, in_flight, 0.0)
    assert (advice is not None and "concurrency" in advice) is warned


def test_silence_is_reported_once_in_a_while_and_of_the_application_alone():
    """A thousand calls without an answer are one line in ten minutes; another host's threads are not ours to know."""
    advice = MisconfigurationHints()
    told = [advice.about_silence(message(), SILENT, 9, float(second)) for second in range(int(AGAIN_SECONDS) + 1)]
    assert [second for second, one in enumerate(told) if one] == [0, AGAIN_SECONDS]
    assert advice.about_silence(message(url="http://elsewhere/do", upstream=None), SILENT, 9, 0.0) is None


def test_a_dispatcher_shows_calls_that_wait_in_the_server():
    """Where several calls end without an answer, the event tells how many were in flight."""
    world = World(Settings(bell="none", listen="none", app_urls=("http://a:1",), timeout_seconds=5.0)).start()
    world.targets.scripts["/do"] = [1_000.0]
    world.put(*messages(3))
    world.pass_time(6.0)
    [told] = world.told(events.Unanswered)
    assert (told.in_flight, told.target) == (3, "/do")

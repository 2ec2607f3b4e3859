"""Bridges for any WSGI application: retries within a request, and lints inside of the middleware."""

from __future__ import annotations

from types import SimpleNamespace
from wsgiref.validate import validator

import pytest

from ap4r.contrib.pyramid import drop_attempt, includeme
from ap4r.contrib.wsgi import each_call_begins, linted
from ap4r.errors import HandleClosed, StoreUnavailable
from ap4r.middleware import AP4RMiddleware
from tests.support.sink import MemorySink, unavailable
from tests.support.wire import exchange, make_environ

TEXT = ("Content-Type", "text/plain")


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


def failing_twice():
    """Create an application whose third call in a request succeeds."""
    calls = []

    def application(environ, start_response):
        calls.append(None)
        environ["ap4r"].async_to(f"/work/{len(calls)}")
        environ["ap4r"].async_to(f"/always/{len(calls)}", on="always")
        if len(calls) < 3:
            raise LookupError
        start_response("200 OK", [TEXT])
        return [b"done"]

    return application


def retrying(application):
    """Create a middleware that calls its application again after a failure."""

    def retry(environ, start_response):
        for _ in range(2):
            try:
                return application(environ, start_response)
            except LookupError:
                pass
        return application(environ, start_response)

    return retry


def test_messages_of_failed_attempts_are_dropped(sink):
    """What the attempt said that succeeded is stored, and nothing of the others, whatever it waited for."""
    exchange(AP4RMiddleware(retrying(each_call_begins(failing_twice())), store=sink))
    assert sink.paths == ["/work/3", "/always/3"]


def test_without_the_middleware_an_application_is_called_as_ever():
    """A retry in a request without a handle has nothing to drop."""
    answer = exchange(each_call_begins(lambda environ, start: start("200 OK", []) and [b"done"]))
    assert answer.body == b"done"
    drop_attempt(SimpleNamespace(environ={}))


def test_pyramid_drops_at_each_attempt_that_is_given_up(sink):
    """The hook of pyramid_retry receives the environ that its attempts share."""
    subscribed = []
    includeme(SimpleNamespace(add_subscriber=lambda *what: subscribed.append(what)))
    assert subscribed == [(drop_attempt, "pyramid_retry.IBeforeRetry")]

    def application(environ, start_response):
        environ["ap4r"].async_to("/first")
        drop_attempt(SimpleNamespace(environ=environ))
        environ["ap4r"].async_to("/second")
        start_response("200 OK", [TEXT])
        return [b"done"]

    exchange(AP4RMiddleware(application, store=sink))
    assert sink.paths == ["/second"]


def test_a_restart_drops_what_blocks_hold_and_what_is_in_doubt_and_keeps_what_is_stored(sink):
    """A retry may come from within a block, and behind a commit() whose answer was lost."""

    def application(environ, start_response):
        handle = environ["ap4r"]
        handle.async_to("/stored")
        handle.commit()
        sink.error = unavailable(outcome_unknown=True)
        handle.async_to("/doubtful")
        with pytest.raises(StoreUnavailable):
            handle.commit()
        sink.error = None
        with handle.transaction():
            handle.async_to("/in")
            handle.restart()
            handle.async_to("/after")
        start_response("200 OK", [TEXT])
        return [b"done"]

    exchange(AP4RMiddleware(application, store=sink, max_messages=3))
    assert sink.paths == ["/stored", "/after"]


def test_nothing_begins_again_after_the_verdict(sink):
    """As of every other use of a handle."""
    handles = []

    def application(environ, start_response):
        handles.append(environ["ap4r"])
        start_response("200 OK", [TEXT])
        return [b"done"]

    exchange(AP4RMiddleware(application, store=sink))
    with pytest.raises(HandleClosed):
        handles[0].restart()


def test_a_lint_inside_does_not_see_the_handle(sink):
    """And the application behind it does."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        return [b"done"]

    environ = make_environ()
    answer = exchange(AP4RMiddleware(linted(application, validator), store=sink), environ)
    assert (answer.raised, answer.body, sink.paths) == (None, b"done", ["/work"])
    assert "ap4r" not in environ

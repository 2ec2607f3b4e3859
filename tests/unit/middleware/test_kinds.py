"""Every kind of application, between the standard library's validator outside and werkzeug's inside."""

from __future__ import annotations

import warnings
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.lint import HTTPWarning, LintMiddleware, WSGIWarning

from ap4r.middleware import AP4RMiddleware
from tests.support.apps import BAD, GOOD, Broken, application
from tests.support.sink import MemorySink, unavailable
from tests.support.wire import exchange, make_environ

_ENDLESS = {"endless", "endless_with_length"}
#: What has left in part before the verdict: longer than is held, or its length tells of a cut, or messages came late.
_BEGUN = {
    *("generator", "generator_with_length", "late_generator_with_length", "closed_iterable", "long_stream"),
    *("long_stream_with_length", "several_chunks_with_length", "written", "written_with_length"),
    *("written_and_returned", "file_with_length"),  # a file only where a layer hides that it is one
}
#: What says its messages when a part has left already.
_SAID_LATE = {"generator", "generator_with_length", "long_stream", "written"}
_FINITE_BAD = sorted(set(BAD) - _ENDLESS)


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


@pytest.fixture(params=["bare", "linted"])
def kept(request, sink):
    """The applications behind the middleware, with and without a lint between the two."""
    inner = application if request.param == "bare" else LintMiddleware(application)
    return AP4RMiddleware(inner, store=sink)


@pytest.fixture(autouse=True)
def lenient_about_204():
    """Werkzeug's lint asks a 204 for a Content-Length, which RFC 9110 forbids it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "204 responses must have an empty content length", HTTPWarning)
        yield


def environ(kind, *, messages=1, method="GET"):
    """Send a request for a kind."""
    return make_environ(method, f"/{kind}", f"messages={messages}", **{"wsgi.file_wrapper": FileWrapper})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("messages", [0, 2])
@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_success_is_unchanged_and_stored_before_its_last_byte(kind, messages, method, kept, sink):
    """Every byte is what it is without the middleware, and the messages are stored, in one put, before the last."""
    bare = exchange(application, environ(kind, messages=messages, method=method))
    answer = exchange(kept, environ(kind, messages=messages, method=method), mark=lambda: len(sink.puts))
    assert (answer.status, answer.headers, answer.body) == (bare.status, bare.headers, bare.body)
    assert [chunk for chunk in answer.chunks if chunk] == [chunk for chunk in bare.chunks if chunk]
    assert answer.raised is None
    assert len(sink.messages) == messages
    assert sink.calls == (1 if messages else 0)
    if messages:
        assert answer.marks[-1] == 1
        if len(bare.chunks) < 2 or (method == "HEAD" and kind not in _SAID_LATE):
            assert answer.marks[0] == 1, "the start of a response that is whole with it has to wait too"


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_success_is_valid_wsgi(kind, kept, sink):
    """The validator of the standard library has nothing to say about the middleware as an application."""
    asked = environ(kind)
    del asked["wsgi.file_wrapper"]
    answer = exchange(validator(kept), asked)
    assert answer.raised is None
    assert len(sink.messages) == 1


@pytest.mark.parametrize("kind", _FINITE_BAD)
def test_a_failure_stores_nothing(kind, kept, sink):
    """Nothing is stored of a request that failed, and the application's own exception comes through unchanged."""
    bare = exchange(application, environ(kind))
    answer = exchange(kept, environ(kind))
    assert sink.calls == 0
    assert not answer.looks_whole
    assert type(answer.raised) in (type(bare.raised), type(None))
    if bare.raised is None:
        assert (answer.status, answer.body) == (bare.status, bare.body)
    else:
        assert isinstance(answer.raised, Broken) or answer.code >= 400
    assert bare.body.startswith(answer.body) or answer.code >= 400


@pytest.mark.parametrize("kind", ["raised_in_body", "raised_in_body_with_length", "raised_after_write"])
def test_head_fails_as_get_does(kind, kept, sink):
    """The start waits for the application's end where that is near, so an exception behind it still counts."""
    answer = exchange(kept, environ(kind, method="HEAD"))
    assert isinstance(answer.raised, Broken)
    assert (answer.status, sink.calls) == ("", 0)


@pytest.mark.parametrize("kind", _FINITE_BAD)
def test_a_failure_without_messages_is_unchanged(kind, kept):
    """Without messages even a failure looks to the client as it does without the middleware."""
    bare = exchange(application, environ(kind, messages=0))
    answer = exchange(kept, environ(kind, messages=0))
    assert (answer.status, answer.headers, answer.body) == (bare.status, bare.headers, bare.body)
    assert repr(answer.raised) == repr(bare.raised)


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_failing_store_never_looks_like_success(kind, method, unknown, kept, sink):
    """The client gets a 503 that says what is known, or a response that ends short."""
    # The lint hears of no 503: to it the application was closed in the middle.
    warnings.filterwarnings("ignore", "Content-Length and the number of bytes sent", WSGIWarning)
    sink.error = unavailable(outcome_unknown=unknown)
    answer = exchange(kept, environ(kind, method=method))
    assert not answer.looks_whole
    assert sink.calls == 1
    if answer.raised is None:
        assert answer.status == "503 Service Unavailable"
        assert int(dict(answer.headers)["Retry-After"]) > 0
        assert answer.starts <= 2, "the start that this server might have refused, and the 503"
        if method == "GET":
            assert (b"unknown" in answer.body) is unknown
            assert len(answer.body) == int(dict(answer.headers)["Content-Length"])
        else:
            assert answer.body == b""
    else:
        assert answer.raised is sink.error
        assert answer.chunks, "before anything has left there is a 503"
        assert kind in _BEGUN


@pytest.mark.parametrize("kind", ["generator", "long_stream", "long_stream_with_length", *sorted(_ENDLESS)])
def test_a_client_that_leaves_early_gets_nothing_stored(kind, kept, sink):
    """A response that the server closes before the application has given all of it is ABORT."""
    answer = exchange(kept, environ(kind), leave_after=1)
    assert answer.left_early
    assert sink.calls == 0


def test_the_file_wrapper_is_handed_over_untouched(kept, sink):
    """The server gets the very object that its own wrapper made, with the messages stored before."""
    direct = AP4RMiddleware(application, store=sink)
    answer = exchange(direct, environ("file"), mark=lambda: len(sink.puts))
    assert type(answer.result) is FileWrapper
    assert answer.marks[0] == 1


@pytest.mark.parametrize("kind", ["no_content", "not_modified"])
def test_a_status_without_body_counts_without_iteration(kind, sink):
    """204 and 304 are whole with their start, whether or not the server asks for a body."""
    answer = exchange(AP4RMiddleware(application, store=sink), environ(kind), iterate=False)
    assert answer.code in (204, 304)
    assert len(sink.puts) == 1


@pytest.mark.parametrize("kind", ["generator", "generator_with_length", "closed_iterable", "nothing_with_length"])
def test_head_counts_by_its_status_without_iteration(kind, sink):
    """The answer to HEAD is whole with its start."""

    def says(environ, start_response):
        environ["ap4r"].async_to("/first")
        return application(environ, start_response)

    answer = exchange(AP4RMiddleware(says, store=sink), environ(kind, messages=0, method="HEAD"), iterate=False)
    assert answer.code == 200
    assert sink.paths == ["/first"]


def test_an_empty_body_counts_without_iteration(sink):
    """A Content-Length of 0 is reached without any body."""
    answer = exchange(AP4RMiddleware(application, store=sink), environ("nothing_with_length"), iterate=False)
    assert answer.code == 200
    assert len(sink.puts) == 1


def test_a_chunk_that_was_held_and_never_asked_for_is_no_success(sink):
    """All of a body was written, but more than is taken ahead, and its last chunk waits for a server that closes."""

    def writes(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [("Content-Length", "6")])(b"done")
        return (chunk for chunk in [b"!", b"!"])

    exchange(AP4RMiddleware(writes, store=sink, buffer_bytes=0), iterate=False)
    assert sink.calls == 0


@pytest.mark.parametrize("kind", ["generator", "long_stream_with_length"])
def test_a_body_that_is_not_read_is_no_success(kind, sink):
    """A GET whose body the server never asks for was not answered, if there is more of it than was taken ahead."""

    def says(environ, start_response):
        environ["ap4r"].async_to("/first")
        return application(environ, start_response)

    exchange(AP4RMiddleware(says, store=sink, buffer_bytes=0), environ(kind, messages=0), iterate=False)
    assert sink.calls == 0

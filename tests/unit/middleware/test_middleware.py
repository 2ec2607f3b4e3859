"""What the middleware promises beyond bytes: verdicts, closing, nesting, streams, refusals."""

from __future__ import annotations

import logging
import sys
from wsgiref.util import FileWrapper

import pytest

from ap4r.errors import ConfigError, HandleClosed, StoreUnavailable, TransactionOpen
from ap4r.middleware import AP4RMiddleware
from ap4r.outbox.handle import Handle
from tests.support.apps import Chunks
from tests.support.sink import MemorySink, unavailable
from tests.support.wire import exchange, make_environ

TEXT = ("Content-Type", "text/plain")


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


def answering(status, *, on="success", chunks=(b"done",), headers=()):
    """Create an application that requests one call and answers."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work", on=on)
        start_response(status, [TEXT, *headers])
        return list(chunks)

    return application


@pytest.mark.parametrize(
    ("status", "on", "stored"),
    [
        ("200 OK", "success", True),
        ("200 OK", "failure", False),
        ("200 OK", "always", True),
        ("404 Not Found", "success", False),
        ("404 Not Found", "failure", True),
        ("404 Not Found", "always", True),
    ],
)
def test_each_message_follows_the_verdict_it_waits_for(status, on, stored, sink):
    """Also those for failures are stored before the last byte leaves."""
    answer = exchange(AP4RMiddleware(answering(status, on=on), store=sink), mark=lambda: len(sink.puts))
    assert answer.status == status
    assert len(sink.puts) == stored
    assert answer.marks[0] == stored


def test_a_failure_notice_is_stored_when_the_application_raises(sink):
    """The exception comes through; what waited for failure is stored, what waited for success is not."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/good")
        environ["ap4r"].async_to("/bad", on="failure")
        raise KeyError("own")

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert isinstance(answer.raised, KeyError)
    assert sink.paths == ["/bad"]


@pytest.mark.parametrize("own", [KeyError("own"), KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_a_failing_store_does_not_mask_the_applications_exception(own, sink, caplog):
    """The client's server sees the exception that the application raised; the log has the other."""
    sink.error = unavailable()

    def application(environ, start_response):
        environ["ap4r"].async_to("/bad", on="failure")
        raise own

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert answer.raised is own
    assert "its messages are not stored" in caplog.text


def test_a_failure_stays_the_applications_own_answer_when_the_store_fails(sink, caplog):
    """A 404 tells of no success, so it is not replaced; the log tells what is lost."""
    sink.error = unavailable()
    answer = exchange(AP4RMiddleware(answering("404 Not Found", on="always"), store=sink))
    assert (answer.code, answer.body) == (404, b"done")
    records = [record for record in caplog.records if record.name == "ap4r.middleware"]
    assert [record.levelno for record in records] == [logging.ERROR]


def test_the_verdict_rule_can_be_replaced(sink):
    """A rule of one's own sees status, headers and exception, and its word counts."""
    seen = []

    def rule(status, headers, exception):
        seen.append((status, list(headers), exception))
        return "commit" if status == 404 else "abort"

    assert exchange(AP4RMiddleware(answering("404 Not Found"), store=sink, verdict=rule)).code == 404
    assert len(sink.puts) == 1
    exchange(AP4RMiddleware(answering("200 OK"), store=sink, verdict=rule))
    assert len(sink.puts) == 1
    assert seen[0] == (404, [TEXT], None)


def test_a_request_without_messages_asks_no_rule(sink):
    """Where no message was said no verdict is needed, and the handle is closed all the same."""
    handles = []

    def application(environ, start_response):
        handles.append(environ["ap4r"])
        start_response("200 OK", [TEXT])
        return [b"done"]

    def rule(status, headers, exception):
        raise LookupError("broken rule")

    assert exchange(AP4RMiddleware(application, store=sink, verdict=rule)).code == 200
    with pytest.raises(HandleClosed):
        handles[0].async_to("/late")


def test_a_rule_that_fails_makes_no_success(sink):
    """The client sees an error, and nothing is stored."""

    def rule(status, headers, exception):
        raise LookupError("broken rule")

    answer = exchange(AP4RMiddleware(answering("200 OK"), store=sink, verdict=rule))
    assert isinstance(answer.raised, LookupError)
    assert sink.calls == 0


def test_a_replaced_rule_may_commit_after_an_exception(sink):
    """The messages are stored and the exception comes through all the same."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        raise KeyError

    answer = exchange(AP4RMiddleware(application, store=sink, verdict=lambda *_: "commit"))
    assert isinstance(answer.raised, KeyError)
    assert len(sink.puts) == 1


def test_the_verdict_of_a_departed_client_receives_generator_exit(sink):
    """A rule can tell a client that left from an application that raised."""
    seen = []

    def application(environ, start_response):
        environ["ap4r"].async_to("/work", on="failure")
        start_response("200 OK", [TEXT, ("Content-Length", "100")])
        yield from [b"0123456789"] * 10

    def rule(status, headers, exception):
        seen.append(type(exception))
        return "abort" if exception else "commit"

    exchange(AP4RMiddleware(application, store=sink, verdict=rule), leave_after=2)
    assert seen[-1] is GeneratorExit
    assert sink.paths == ["/work"]


def test_an_application_may_send_notice_when_its_client_leaves(sink):
    """What a generator says while it is closed still follows the verdict."""

    def application(environ, start_response):
        start_response("200 OK", [TEXT])
        try:
            while True:
                yield b"tick"
        except GeneratorExit:
            environ["ap4r"].async_to("/left", on="failure")
            raise

    exchange(AP4RMiddleware(application, store=sink), leave_after=3)
    assert sink.paths == ["/left"]


def test_a_stream_commits_as_often_as_it_says(sink):
    """Each commit() stores what was said, frees the stream, and allows more."""
    stored_at = []

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for number in range(3):
            environ["ap4r"].async_to(f"/event/{number}")
            environ["ap4r"].commit()
            yield b"data: %d\n\n" % number
        while True:
            stored_at.append(len(sink.puts))
            yield b": still here\n\n"

    answer = exchange(AP4RMiddleware(application, store=sink), mark=lambda: len(sink.puts), leave_after=5)
    assert answer.marks == [1, 1, 2, 3, 3, 3]
    assert sink.paths == ["/event/0", "/event/1", "/event/2"]


def test_a_commit_that_fails_keeps_the_messages(sink):
    """The application sees the store's error; the response's verdict tries again, with the very same put."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/first")
        sink.error = unavailable(outcome_unknown=True)
        with pytest.raises(StoreUnavailable):
            environ["ap4r"].commit()
        sink.error = None
        environ["ap4r"].async_to("/second")
        start_response("200 OK", [TEXT])
        return [b"done"]

    sink.stores_all_the_same = True
    assert exchange(AP4RMiddleware(application, store=sink)).code == 200
    assert sink.paths == ["/first", "/second"]
    assert sink.calls == 3


def test_rollback_drops_what_was_said(sink):
    """What is said behind it follows the response."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/dropped")
        environ["ap4r"].rollback()
        environ["ap4r"].async_to("/kept")
        start_response("200 OK", [TEXT])
        return [b"done"]

    exchange(AP4RMiddleware(application, store=sink))
    assert sink.paths == ["/kept"]


def test_a_block_that_raised_leaves_the_response_alone(sink):
    """None of its messages are stored, though the response succeeds."""

    def application(environ, start_response):
        with pytest.raises(KeyError), environ["ap4r"].transaction():
            environ["ap4r"].async_to("/in")
            raise KeyError
        environ["ap4r"].async_to("/out")
        start_response("200 OK", [TEXT])
        return [b"done"]

    exchange(AP4RMiddleware(application, store=sink))
    assert sink.paths == ["/out"]


def test_after_the_verdict_nothing_is_taken(sink):
    """The application hears at once that a message could not follow any verdict any more."""
    handles = []

    def application(environ, start_response):
        handles.append(environ["ap4r"])
        start_response("200 OK", [TEXT])
        return [b"done"]

    exchange(AP4RMiddleware(application, store=sink))
    (handle,) = handles
    for use in (lambda: handle.async_to("/late"), handle.commit, handle.rollback, handle.transaction().__enter__):
        with pytest.raises(HandleClosed):
            use()
    assert sink.calls == 0


def test_the_start_waits_for_one_further_value_and_no_longer(sink):
    """Of a body that is too long to be taken ahead, the first chunk leaves when the second is there."""
    pulled = []

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT, ("Content-Length", "4")])
        for number in range(4):
            pulled.append(number)
            yield b"x"

    result = AP4RMiddleware(application, store=sink, buffer_bytes=0)(make_environ(), lambda *_: None)
    chunks = iter(result)
    ahead = [(next(chunks), len(pulled), len(sink.puts)) for _ in range(4)]
    assert ahead == [(b"x", 2, 0), (b"x", 3, 0), (b"x", 4, 1), (b"x", 4, 1)]
    with pytest.raises(StopIteration):
        next(chunks)
    result.close()


def test_what_has_nothing_to_send_yet_yields_an_empty_string(sink):
    """Behind the start, holding a chunk back does not block the server (PEP 3333)."""

    def application(environ, start_response):
        start_response("200 OK", [TEXT])
        yield b"one"
        environ["ap4r"].async_to("/work")
        yield b"two"
        yield b"three"

    result = AP4RMiddleware(application, store=sink)(make_environ(), lambda *_: None)
    assert list(result) == [b"one", b"", b"two", b"three"]
    result.close()


def test_without_messages_every_value_passes_as_it_comes(sink):
    """Nothing is held, joined, split or left out, empty strings included."""
    pulled = []

    def application(environ, start_response):
        start_response("200 OK", [TEXT])
        for chunk in (b"", b"one", b"", b"two"):
            pulled.append(chunk)
            yield chunk

    starts = []
    result = AP4RMiddleware(application, store=sink)(make_environ(), lambda *start: starts.append(start))
    chunks = iter(result)
    for count, expected in enumerate((b"", b"one", b"", b"two"), 1):
        assert next(chunks) == expected
        assert len(pulled) == count
    assert starts == [("200 OK", [TEXT])]
    assert sink.calls == 0


def test_an_untouched_list_is_handed_over_itself(sink):
    """A response that is all there costs no wrapper: the server gets the application's own list."""
    body = [b"done"]

    def application(environ, start_response):
        start_response("200 OK", [TEXT])
        return body

    assert exchange(AP4RMiddleware(application, store=sink)).result is body


def test_commit_at_headers_stores_before_the_first_byte(sink):
    """An event stream is stored before it begins; later messages have no verdict to follow."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        yield b"one"
        with pytest.raises(HandleClosed):
            environ["ap4r"].async_to("/late")
        while True:
            yield b"more"

    app = AP4RMiddleware(application, store=sink, commit_at="headers")
    answer = exchange(app, mark=lambda: len(sink.puts), leave_after=3)
    assert answer.marks == [1, 1, 1, 1]


@pytest.mark.parametrize("swallows", [False, True])
def test_a_store_that_fails_within_write_is_answered_503(swallows, sink):
    """Whether or not the application lets the error through, the client sees no success."""
    sink.error = unavailable()

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        write = start_response("200 OK", [TEXT])
        try:
            write(b"one")
        except StoreUnavailable:
            if not swallows:
                raise
        return iter([b"two"])

    answer = exchange(AP4RMiddleware(application, store=sink, commit_at="headers"))
    assert answer.code == 503
    assert b"two" not in answer.body
    assert answer.raised is None


@pytest.mark.parametrize("error", [RuntimeError("disk"), OSError(28, "full"), TypeError("bug")])
def test_any_error_of_a_sink_is_no_success(error, sink):
    """An error that is not ap4r's own leaves open what was stored, and says so."""
    sink.error = error
    answer = exchange(AP4RMiddleware(answering("200 OK"), store=sink))
    assert answer.code == 503
    assert b"unknown" in answer.body


def test_the_refusal_reveals_nothing_of_the_store(sink, caplog):
    """Where the store is stays in the log."""
    sink.error = StoreUnavailable("sqlite:////secret/place.db", "locked")
    answer = exchange(AP4RMiddleware(answering("200 OK", headers=[("Set-Cookie", "a=b")]), store=sink))
    assert b"secret" not in answer.body
    assert "Set-Cookie" not in dict(answer.headers)
    assert "sqlite:////secret/place.db" in caplog.text


@pytest.mark.parametrize("error", [None, unavailable()])
@pytest.mark.parametrize("leave_after", [None, 0, 1])
@pytest.mark.parametrize("length", [True, False])
def test_close_is_called_exactly_once(length, leave_after, error, sink):
    """However the response ends, the application's iterable is closed, and only once."""
    sink.error = error
    body = Chunks([b"do", b"ne", b"!"])

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT, ("Content-Length", "5")] if length else [TEXT])
        return body

    exchange(AP4RMiddleware(application, store=sink), leave_after=leave_after)
    assert body.closed == 1


def test_close_is_called_though_the_server_does_not(sink):
    """A server that forgets close() after an exception leaves nothing open."""

    def chunks():
        yield b"one"
        raise KeyError

    body = Chunks(chunks())

    def application(environ, start_response):
        start_response("200 OK", [TEXT])
        return body

    result = iter(AP4RMiddleware(application, store=sink)(make_environ(), lambda *_: None))
    assert next(result) == b"one"
    with pytest.raises(KeyError):
        next(result)
    assert body.closed == 1


def test_a_close_that_raises_comes_through(sink):
    """The verdict was given at the end of the body; what close() raises behind it is the server's to see."""

    class Raising(Chunks):
        def close(self):
            super().close()
            raise LookupError("close")

    body = Raising([b"done"])

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        return body

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert isinstance(answer.raised, LookupError)
    assert body.closed == 1
    assert len(sink.puts) == 1


def test_a_file_is_closed_when_its_response_is_refused(sink):
    """The server never sees the wrapper, so the middleware closes it."""
    sink.error = unavailable()
    wrapped = FileWrapper(Chunks([]))

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        return wrapped

    environ = make_environ(**{"wsgi.file_wrapper": FileWrapper})
    assert exchange(AP4RMiddleware(application, store=sink), environ).code == 503
    assert wrapped.filelike.closed == 1


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("status", "header", "chunk", "says"),
    [
        ("200 OK", ("X-File", "5 €.txt"), b"done", "header 'X-File'"),
        ("200 OK", ("X-€", "5"), b"done", "name of a header"),
        ("200 Fünf €", ("X-File", "5"), b"done", "status"),
        ("200 OK", ("X-File", "5"), "done", "str"),
    ],
)
def test_a_response_that_no_server_can_send_fails_before_the_commit(status, header, chunk, says, is_stream, sink):
    """Most servers find that out only when they write: the client gets a 500, and no message may have been stored."""
    sent = answering(status, headers=[header], chunks=[chunk, chunk] if is_stream else [chunk])
    answer = exchange(AP4RMiddleware(sent, store=sink))
    assert isinstance(answer.raised, ValueError)
    assert says in str(answer.raised)
    assert (sink.puts, answer.chunks) == ([], [])


def test_a_response_that_no_server_can_send_is_the_servers_to_judge_without_messages(sink):
    """A request that said nothing is none of our business."""

    def application(environ, start_response):
        start_response("200 OK", [("X-File", "5 €.txt")])
        return [b"done"]

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert (answer.raised, answer.chunks) == (None, [b"done"])


def test_a_start_that_the_server_refuses_stores_nothing(sink):
    """A line break in a header fails the request at the server, and so the verdict is ABORT."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("303 See Other", [("Location", "/a\r\nSet-Cookie: b")])
        return [b""]

    def strict(environ, start_response):
        def checked(status, headers, exc_info=None):
            raise ValueError("line break in a header")

        return AP4RMiddleware(application, store=sink)(environ, checked)

    answer = exchange(strict)
    assert isinstance(answer.raised, ValueError)
    assert sink.calls == 0


def test_an_odd_start_that_the_server_takes_can_still_be_refused(sink):
    """Behind a start that the server has already, the 503 comes as PEP 3333 has it: with exc_info."""
    sink.error = unavailable()
    answer = exchange(AP4RMiddleware(answering("200 OK", headers=[("Connection", "close")]), store=sink))
    assert answer.code == 503
    assert answer.starts == 2


@pytest.mark.parametrize("length", [[], [("Content-Length", "3")]])
def test_a_failure_takes_the_place_of_a_success_that_has_not_left(length, sink):
    """What was held of the success goes with it; the failure is complete, counted separately, and waits for nothing."""
    pulled = []

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        yield b"some"
        try:
            raise KeyError
        except KeyError:
            start_response("500 Internal Server Error", [TEXT, *length], sys.exc_info())
        for chunk in (b"s", b"r", b"y"):
            pulled.append(chunk)
            yield chunk

    answer = exchange(AP4RMiddleware(application, store=sink), mark=lambda: len(pulled))
    assert (answer.code, answer.chunks, answer.raised) == (500, [b"s", b"r", b"y"], None)
    assert answer.marks == [1, 1, 2, 3]
    assert sink.calls == 0


def test_a_success_that_replaces_another_is_counted_again(sink):
    """The bytes of the start that was replaced do not count towards the length of the next."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        yield b"some"
        try:
            raise KeyError
        except KeyError:
            start_response("201 Created", [TEXT, ("Content-Length", "6")], sys.exc_info())
        yield b"one"
        environ["ap4r"].async_to("/more")
        yield b"two"

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert (answer.code, answer.body) == (201, b"onetwo")
    assert sink.paths == ["/work", "/more"]


def test_a_second_start_without_exc_info_is_refused(sink):
    """As PEP 3333 has it."""

    def application(environ, start_response):
        start_response("200 OK", [TEXT])
        start_response("200 OK", [TEXT])
        return [b"done"]

    assert isinstance(exchange(AP4RMiddleware(application, store=sink)).raised, AssertionError)


def test_an_application_without_a_start_is_the_servers_to_judge(sink):
    """Nothing is stored, and the server hears of no start."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        return [b"done"]

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert isinstance(answer.raised, AssertionError)
    assert sink.calls == 0


@pytest.mark.parametrize("result", [None, 5])
def test_a_result_that_is_no_iterable_fails_as_ever(result, sink):
    """The server gets the TypeError that it would get without the middleware."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        return result

    assert isinstance(exchange(AP4RMiddleware(application, store=sink)).raised, TypeError)
    assert sink.calls == 0


def test_one_request_has_one_handle(sink):
    """Inside another middleware of the same store the outer one decides, whatever became of the inner part."""
    inner = AP4RMiddleware(answering("200 OK"), store=sink)
    handles = []

    def outer(environ, start_response):
        handles.append(environ["ap4r"])
        environ["ap4r"].async_to("/outer")
        list(inner(environ, lambda *_: None))
        assert sink.calls == 0
        start_response("404 Not Found", [TEXT])
        return [b"no"]

    assert exchange(AP4RMiddleware(outer, store=sink)).code == 404
    assert sink.calls == 0
    assert isinstance(handles[0], Handle)


def test_another_store_has_its_own_verdict(sink):
    """A middleware of another store inside gives its own handle, and its part is its own request."""
    other = MemorySink()
    inner = AP4RMiddleware(answering("200 OK"), store=other)

    def outer(environ, start_response):
        environ["ap4r"].async_to("/outer")
        return inner(environ, start_response)

    assert exchange(AP4RMiddleware(outer, store=sink)).code == 200
    assert (sink.paths, other.paths) == (["/outer"], ["/work"])


def test_a_handle_whose_verdict_was_given_is_not_used_again(sink):
    """An environ that is used for a second request gets a handle of its own."""
    environ = make_environ()
    app = AP4RMiddleware(answering("200 OK"), store=sink)
    exchange(app, environ)
    exchange(app, environ)
    assert len(sink.puts) == 2


def test_the_handle_works_from_a_copy_of_the_environ(sink):
    """The application may copy or empty the environ: the middleware looks at it only once."""

    def application(environ, start_response):
        copy = dict(environ)
        environ.clear()
        copy["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        return iter([b"done"])

    exchange(AP4RMiddleware(application, store=sink))
    assert sink.paths == ["/work"]


def test_the_trace_of_the_request_goes_on(sink):
    """A message belongs to the trace that the request came with."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    environ = make_environ(HTTP_TRACEPARENT=f"00-{trace_id}-00f067aa0ba902b7-01")
    exchange(AP4RMiddleware(answering("200 OK"), store=sink), environ)
    assert sink.messages[0].trace_id == trace_id


@pytest.mark.parametrize(
    "wrong", [{"commit_at": "start"}, {"no_such_setting": 1}, {"buffer_bytes": -1}, {"store": "ftp://here"}]
)
def test_a_wrong_setting_is_reported_when_the_middleware_is_made(wrong):
    """Not at the first request."""
    with pytest.raises(ConfigError):
        AP4RMiddleware(answering("200 OK"), **wrong)


def test_a_long_body_without_length_streams_on(sink):
    """Beyond buffer_bytes it leaves, but for its last chunk."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        yield from [b"12345"] * 4

    answer = exchange(AP4RMiddleware(application, store=sink, buffer_bytes=9), mark=lambda: len(sink.puts))
    assert answer.marks == [0, 0, 0, 0, 1]


def test_a_long_body_that_is_cut_is_logged(sink, caplog):
    """The one case in which an HTTP/1.0 client may be misled is logged."""
    sink.error = unavailable()

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        yield from [b"12345"] * 4

    answer = exchange(AP4RMiddleware(application, store=sink, buffer_bytes=9))
    assert answer.raised is sink.error
    assert answer.body == b"12345" * 3
    assert "may accept as complete" in caplog.text


def _answer_inside_a_block(body, *, leave):
    def app(environ, start_response):
        handle = environ["ap4r"]

        def chunks():
            block = handle.transaction()
            block.__enter__()
            handle.async_to("/in")
            yield from body
            if leave:
                block.__exit__(None, None, None)
            else:
                environ["never left"] = block

        start_response("200 OK", [("Content-Length", str(sum(map(len, body))))])
        return chunks()

    return app


@pytest.mark.parametrize("body", [[b"ok"], [b"o", b"k"]])
@pytest.mark.parametrize("leave", [True, False])
def test_a_block_that_is_open_at_the_last_byte(body, leave):
    """The last byte waits for the block's end; without one the client reads no whole success."""
    sink, started = MemorySink(), []

    def start_response(status, headers, exc_info=None):
        started.append(status)
        return lambda data: None

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    response = AP4RMiddleware(_answer_inside_a_block(body, leave=leave), store=sink)(environ, start_response)
    read = b""
    try:
        for chunk in response:
            read += chunk
    except TransactionOpen:
        started.append("cut")
    finally:
        response.close()
    if leave:
        assert (started, read, sink.paths) == (["200 OK"], b"ok", ["/in"])
    else:
        assert sink.paths == []
        assert read != b"ok"
        assert started in (["200 OK", "503 Service Unavailable"], ["200 OK", "cut"])


def test_a_block_that_is_forgotten_is_answered_503():
    """A block of a plain view that is entered, kept nowhere and never left drops nothing behind a 200."""
    sink = MemorySink()

    def application(environ, start_response):
        block = environ["ap4r"].transaction()
        block.__enter__()
        environ["ap4r"].async_to("/in")
        start_response("200 OK", [TEXT])
        return [b"done"]

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert answer.status == "503 Service Unavailable"
    assert sink.puts == []


def test_a_start_that_waits_is_passed_on_as_it_was_given(sink):
    """Headers that change while the start waits for the verdict change nothing; where nothing waits it is the list."""
    headers = [TEXT]

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/says":
            environ["ap4r"].async_to("/work")
        start_response("200 OK", headers)
        headers.append(("X-Late", "1"))
        return [b"done"]

    seen = []
    app = AP4RMiddleware(application, store=sink)
    app(make_environ(path="/says"), lambda status, headers: seen.append(headers))
    assert seen == [[TEXT]]
    app(make_environ(), lambda status, headers: seen.append(headers))
    assert seen[1] is headers


@pytest.mark.parametrize("says", [False, True])
def test_a_body_that_is_measured_while_it_is_sent_is_whole(says, sink):
    """Iterations of a sized body are apart from one another: gevent measures it when its first chunk is here."""

    class Sequence:
        def __len__(self):
            return 3

        def __getitem__(self, place):
            return [b"one", b"two", b"three"][place]

    def application(environ, start_response):
        start_response("200 OK", [])
        if says:
            environ["ap4r"].async_to("/x")
        return Sequence()

    result = AP4RMiddleware(application, store=sink)(make_environ(), lambda status, headers, exc_info=None: None)
    sent, size = [], 0
    for chunk in result:
        size = size or sum(map(len, result))
        sent.append(chunk)
    result.close()
    assert (b"".join(sent), size, len(sink.messages)) == (b"onetwothree", 11, int(says))

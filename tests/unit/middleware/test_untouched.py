"""Where nothing waits the middleware is not to be seen: starts, errors, write(), results and the environ."""

from __future__ import annotations

import io
import sys
from collections import deque
from types import ModuleType
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from ap4r.middleware import AP4RMiddleware
from ap4r.middleware.response.body import is_plain
from tests.support.apps import Chunks, Sized
from tests.support.sink import MemorySink
from tests.support.wire import exchange, make_environ

TEXT = ("Content-Type", "text/plain")


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


def returning(result, *, says=False):
    """Create an application that answers with `result`."""

    def application(environ, start_response):
        if says:
            environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        return result

    return application


def call(app, environ=None, write=lambda data: None):
    """Call an application as a server does; return its result, and the starts that came before it returned."""
    starts = []

    def start_response(*start):
        starts.append(start)
        return write

    return app(make_environ() if environ is None else environ, start_response), starts


class SubclassOfList(list):
    """A list that iterates as Python's own do."""

    def close(self):
        """Do nothing."""


@pytest.mark.parametrize(
    "result",
    [
        [],
        [b"a", b"", b"b"],
        (b"a", b"b"),
        SubclassOfList([b"a", b"b"]),
        iter([b"a", b"b"]),
        iter((b"a",)),
        deque([b"a"]),
        {b"a": 1},
        io.BytesIO(b"a"),
        b"a",
        "a",
        None,
        5,
    ],
    ids=lambda result: type(result).__name__,
)
def test_what_can_say_nothing_is_handed_over_itself(result, sink):
    """The server gets the very object, and its start before that."""
    given, starts = call(AP4RMiddleware(returning(result), store=sink))
    assert given is result
    assert starts == [("200 OK", [TEXT])]


def test_an_opened_file_is_handed_over_itself(sink, tmp_path):
    """A server may ask it for its descriptor."""
    (tmp_path / "file").write_bytes(b"a")
    with (tmp_path / "file").open("rb") as opened:
        assert call(AP4RMiddleware(returning(opened), store=sink))[0] is opened


@pytest.mark.parametrize("result", [[b"a", b"b", b"c"], (b"a", b"b"), SubclassOfList([b"a"])])
def test_a_list_is_handed_over_itself_behind_its_commit(result, sink):
    """However long it is, nothing more can be said through it, so it is decided about at once."""
    given, starts = call(AP4RMiddleware(returning(result, says=True), store=sink, buffer_bytes=0))
    assert given is result
    assert len(sink.puts) == len(starts) == 1


def test_what_a_server_s_own_function_for_files_returned_is_handed_over_itself(sink):
    """Some servers have no type of files and know the object again, whatever was wrapped."""
    opened = Chunks([b"a"])

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        environ["wsgi.file_wrapper"](Chunks([]))
        return environ["wsgi.file_wrapper"](opened, 4_096)

    def file_wrapper(file, block_size=0):
        return file

    environ = make_environ(**{"wsgi.file_wrapper": file_wrapper})
    given, _ = call(AP4RMiddleware(application, store=sink), environ)
    assert given is opened
    assert len(sink.puts) == 1
    assert environ["wsgi.file_wrapper"] is file_wrapper


def test_a_mark_of_the_servers_is_handed_over_itself(sink, caplog):
    """eventlet knows by one object that an application has taken the connection over."""
    module = ModuleType("eventlet.wsgi")
    exec("class Taken:\n    def __iter__(self): return iter(())", vars(module))
    mark = module.Taken()

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        return mark

    assert call(AP4RMiddleware(application, store=sink))[0] is mark
    assert "are dropped (1)" in caplog.text


@pytest.mark.parametrize(
    "result", [map(bytes, ()), (chunk for chunk in ()), Chunks([]), zip(), FileWrapper(Chunks([]))]
)
def test_what_may_run_the_application_is_not_plain(result):
    """A generator, or what iterates another, may say messages while it streams."""
    assert not is_plain(result)


def test_a_result_with_a_length_can_be_iterated_as_often_as_the_applications_own(sink):
    """A server that iterates once to count, and again to send, gets all of it both times."""
    given, _ = call(AP4RMiddleware(returning(Sized([b"one", b"two"])), store=sink))
    assert (len(given), list(given), list(given)) == (2, [b"one", b"two"], [b"one", b"two"])
    given.close()


def test_a_result_with_a_length_keeps_it_behind_its_commit(sink):
    """What is handed out in its place has as many chunks as it promises, each time."""
    given, _ = call(AP4RMiddleware(returning(Sized([b"one", b"two"]), says=True), store=sink))
    assert (len(given), list(given), list(given), len(sink.puts)) == (2, [b"one", b"two"], [b"one", b"two"], 1)
    given.close()


@pytest.mark.parametrize("chunks", [[b"one", b"", b"two"], [b"12345"] * 4])
def test_what_holds_back_promises_no_length(chunks, sink):
    """Where empty chunks are left out, or the body is longer than is taken, no number is promised."""
    given, _ = call(AP4RMiddleware(returning(Sized(chunks), says=True), store=sink, buffer_bytes=9))
    assert not hasattr(given, "__len__")
    assert b"".join(given) == b"".join(chunks)
    given.close()


@pytest.mark.parametrize("says", [False, True])
def test_a_start_comes_before_the_call_returns(says, sink):
    """As without the middleware; with messages the verdict comes before it."""
    chunks = Chunks([b"a", b"b"])
    puts_at_start = []

    def start_response(status, headers, exc_info=None):
        puts_at_start.append(status)
        return lambda data: None

    AP4RMiddleware(returning(chunks, says=says), store=sink)(make_environ(), start_response)
    assert puts_at_start == ["200 OK"]
    assert len(sink.puts) == says


def test_exc_info_reaches_the_server(sink):
    """An outer middleware or test client may look at it."""
    error = RuntimeError("a bug in a view")

    def application(environ, start_response):
        try:
            raise error
        except RuntimeError:
            start_response("500 Oops", [TEXT], sys.exc_info())
        return [b"oops"]

    _, [(_, _, exc_info)] = call(AP4RMiddleware(application, store=sink))
    assert exc_info[1] is error


def test_exc_info_of_a_start_that_waited_reaches_the_server(sink):
    """A held start is passed on whole."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        try:
            raise RuntimeError
        except RuntimeError:
            start_response("200 OK", [TEXT], sys.exc_info())
        return [b"fine"]

    _, [(status, _, exc_info)] = call(AP4RMiddleware(application, store=sink))
    assert (status, exc_info[0]) == ("200 OK", RuntimeError)


def test_the_application_sees_what_the_server_raises(sink):
    """It may start the response in another way, as without the middleware."""

    def application(environ, start_response):
        try:
            start_response("200 OK", [("X", "refused")])
        except ValueError:
            start_response("400 Bad Request", [TEXT])
        return [b"bad"]

    starts = []

    def start_response(status, headers, exc_info=None):
        if headers[0][1] == "refused":
            raise ValueError
        starts.append(status)
        return lambda data: None

    assert AP4RMiddleware(application, store=sink)(make_environ(), start_response) == [b"bad"]
    assert starts == ["400 Bad Request"]


def pushing(*, says):
    """Create an application that writes, and then returns a list."""

    def application(environ, start_response):
        if says:
            environ["ap4r"].async_to("/work")
        write = start_response("200 OK", [TEXT])
        write(b"abc")
        write(b"def")
        return [b"ghi"]

    return application


def test_a_server_without_write_fails_as_ever(sink):
    """asgiref's adapter gives none: the application fails as it does without the middleware."""
    with pytest.raises(TypeError):
        call(AP4RMiddleware(pushing(says=False), store=sink), write=None)


def test_what_was_written_is_not_lost_where_a_server_takes_no_write(sink):
    """What was held for the verdict leaves through the result."""
    given, _ = call(AP4RMiddleware(pushing(says=True), store=sink), write=None)
    assert b"".join(given) == b"abcdefghi"
    assert len(sink.puts) == 1


def test_more_than_is_held_fails_where_a_server_takes_no_write(sink):
    """And then nothing is stored."""
    with pytest.raises(TypeError):
        call(AP4RMiddleware(pushing(says=True), store=sink, buffer_bytes=2), write=None)
    assert sink.calls == 0


@pytest.mark.parametrize("result", [[b"ok"], Chunks([b"ok"])])
def test_the_environ_is_left_as_it_was_found(result, sink):
    """A test client may use it again, and a lint would refuse what we had left there."""
    environ = make_environ()
    before = set(environ)
    app = validator(AP4RMiddleware(returning(result), store=sink))
    for _ in range(2):
        assert exchange(app, environ).body == b"ok"
        assert set(environ) == before


def test_an_environ_that_another_store_looks_after_is_given_back(sink):
    """Behind an inner middleware of another store the outer one's handle is there again."""
    inner = AP4RMiddleware(returning([b"ok"], says=True), store=MemorySink())

    def outer(environ, start_response):
        result = inner(environ, start_response)
        environ["ap4r"].async_to("/outer")
        return result

    exchange(AP4RMiddleware(outer, store=sink))
    assert sink.paths == ["/outer"]

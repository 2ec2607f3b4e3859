"""Which comes first, the start or the commit, so that neither a refused start nor a failing store makes a lie."""

from __future__ import annotations

import io
import sys
from functools import partial, wraps
from types import FunctionType, ModuleType
from wsgiref.handlers import SimpleHandler
from wsgiref.validate import validator

import pytest

from ap4r.errors import ConfigError
from ap4r.middleware import AP4RMiddleware
from ap4r.middleware.response.known_servers import SecondStart, accepts_plain_starts, second_start
from ap4r.middleware.response.store_failure import added_to, is_encoded, refusal
from tests.support.sink import MemorySink, unavailable
from tests.support.wire import exchange, make_environ

TEXT = ("Content-Type", "text/plain")


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


def says_first(environ, start_response):
    """Request a call, start the response, answer."""
    environ["ap4r"].async_to("/work")
    start_response("200 OK", [TEXT])
    return [b"done"]


def starts_first(environ, start_response):
    """Start, say, answer."""
    start_response("200 OK", [TEXT])
    environ["ap4r"].async_to("/work")
    return [b"done"]


def says_in_its_body(environ, start_response):
    """Start, say behind the return."""
    start_response("200 OK", [TEXT])

    def body():
        environ["ap4r"].async_to("/work")
        yield b"done"

    return body()


def in_module(name, source="", **given):
    """Create an object defined in a module of this name."""
    module = ModuleType(name)
    vars(module).update(given)
    exec(source, vars(module))
    return module


def test_a_start_after_one_that_was_refused_is_judged_by_itself(sink):
    """What an error's start would come to is not remembered of the success that takes its place."""
    statuses = []

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        try:
            start_response("500 Internal Server Error", [TEXT])
        except OSError:
            start_response("200 OK", [TEXT])
        return [b"done"]

    def outer(environ, start_response):
        def refusing(status, headers, exc_info=None):
            statuses.append(status[:3])
            if status.startswith("500"):
                raise OSError("errors are shown elsewhere")
            return start_response(status, headers, exc_info)

        refusing = FunctionType(
            refusing.__code__, {"__name__": "werkzeug.serving"}, None, (None,), refusing.__closure__
        )
        return AP4RMiddleware(application, store=sink)(environ, refusing)

    sink.error = unavailable()
    assert exchange(outer).code == 503
    assert statuses == ["500", "503"]


def test_a_rule_of_the_users_is_asked_again_at_the_end(sink):
    """It may know more by then than when the response began; only our own rule cannot."""
    done = []
    rule = lambda status, headers, exception: "commit" if done else "abort"  # noqa: E731

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        done.append(True)
        return [b"done"]

    exchange(AP4RMiddleware(application, store=sink, verdict=rule))
    assert sink.calls == 1


@pytest.mark.parametrize("application", [says_first, says_in_its_body])
def test_a_start_that_an_outer_middleware_refuses_stores_nothing(application, sink):
    """Beaker's raises where its own store is away: the client gets a 500, and no message may have been stored."""

    def outer(environ, start_response):
        def refusing(status, headers, exc_info=None):
            raise OSError("session store is down")

        return AP4RMiddleware(application, store=sink)(environ, refusing)

    assert isinstance(exchange(outer).raised, OSError)
    assert sink.calls == 0


def test_a_start_that_the_validator_refuses_stores_nothing(sink):
    """The standard library's own is an outer middleware like others."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("204 No Content", [TEXT])
        return []

    assert isinstance(exchange(validator(AP4RMiddleware(application, store=sink))).raised, AssertionError)
    assert sink.calls == 0


@pytest.mark.parametrize("application", [says_first, starts_first, says_in_its_body])
def test_a_failing_store_is_503_where_the_start_came_first(application, sink):
    """A server that follows PEP 3333 lets the second start replace the first."""
    sink.error = unavailable()
    answer = exchange(AP4RMiddleware(application, store=sink))
    assert (answer.code, answer.raised) == (503, None)


@pytest.mark.parametrize("package", ["uvicorn", "a2wsgi", "starlette"])
@pytest.mark.parametrize("application", [says_first, starts_first, says_in_its_body])
def test_a_failing_store_raises_where_a_second_start_would_not_replace_the_first(package, application, sink):
    """These have sent the first: an exception makes a 500 or a cut of it."""
    sink.error = unavailable()
    server = in_module(f"{package}.http", "def serve(app): return exchange(app)", exchange=exchange)
    answer = server.serve(AP4RMiddleware(application, store=sink))
    assert answer.raised is sink.error
    assert answer.chunks == []


@pytest.mark.parametrize("package", ["gunicorn", "cheroot"])
@pytest.mark.parametrize("application", [says_first, starts_first, says_in_its_body])
def test_a_failing_store_is_a_503_where_a_second_start_adds_headers(package, application, sink):
    """These take the status of the second start; it brings only headers that the first has not."""
    sink.error = unavailable()
    server = in_module(f"{package}.http", "def serve(app): return exchange(app)", exchange=exchange)
    answer = server.serve(AP4RMiddleware(application, store=sink))
    assert (answer.code, answer.raised) == (503, None)
    assert TEXT[0] not in [name for name, _ in answer.headers]


def test_a_known_server_sees_one_start(sink):
    """Its start_response accepts what is plain, so the commit comes first and a failure is the only start."""
    sink.error = unavailable()
    handler = SimpleHandler(io.BytesIO(), io.BytesIO(), io.StringIO(), make_environ())
    starts = []
    inner = AP4RMiddleware(says_first, store=sink)

    def recording(status, headers, exc_info=None):
        starts.append(status)
        return handler.write

    handler.start_response = recording
    known = in_module("wsgiref.handlers", "def start_response(*start): return recording(*start)", recording=recording)
    body = inner(make_environ(), known.start_response)
    assert starts == ["503 Service Unavailable"]
    assert b"could not be stored" in b"".join(body)


def test_an_odd_start_is_shown_to_a_known_server_first(sink):
    """asgiref refuses what is not ASCII."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [("X-Name", "caf\xe9")])
        return [b"done"]

    source = "def start_response(status, headers): headers[0][1].encode('ascii')"
    asgiref = in_module("asgiref.wsgi", source)
    with pytest.raises(UnicodeEncodeError):
        AP4RMiddleware(application, store=sink)(make_environ(), asgiref.start_response)
    assert sink.calls == 0


class TestAccepting:
    def test_servers_functions_methods_and_objects_are_known(self):
        """By the module that defines them, independent of the import."""
        module = in_module("granian.wsgi", "class Response:\n    def __call__(self): pass\n    def start(self): pass")
        assert accepts_plain_starts(module.Response())
        assert accepts_plain_starts(module.Response().start)
        assert accepts_plain_starts(in_module("waitress.task", "def start_response(): pass").start_response)

    def test_wrappers_are_not_taken_for_what_they_wrap(self):
        """Also not those that functools.wraps has given the names of a server."""
        start_response = in_module("gunicorn.http.wsgi", "def start_response(): pass").start_response

        @wraps(start_response)
        def wrapper():
            return start_response()

        assert wrapper.__module__ == "gunicorn.http.wsgi"
        assert not accepts_plain_starts(wrapper)
        assert not accepts_plain_starts(partial(lambda inner: inner(), start_response))

    def test_observers_are_looked_through(self):
        """Sentry and OpenTelemetry pass everything on."""
        start_response = in_module("gunicorn.http.wsgi", "def start_response(): pass").start_response
        sentry = in_module("sentry_sdk.integrations.wsgi", "def observe(inner, span): pass")
        telemetry = in_module(
            "opentelemetry.instrumentation.wsgi",
            "def make(start_response):\n    def inner(): return start_response()\n    return inner",
        )
        assert accepts_plain_starts(partial(sentry.observe, start_response, object()))
        assert accepts_plain_starts(telemetry.make(start_response))
        assert accepts_plain_starts(telemetry.make(partial(sentry.observe, start_response, object())))
        assert not accepts_plain_starts(telemetry.make(lambda: None))
        assert not accepts_plain_starts(partial(sentry.observe, None))
        assert not accepts_plain_starts(sentry.observe)

    def test_what_is_written_in_c_counts_where_such_a_server_runs(self, monkeypatch):
        """Its module is loaded in its processes only."""
        assert not accepts_plain_starts(print)
        monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
        assert accepts_plain_starts(print)
        assert second_start(has_returned=False) is SecondStart.IS_IGNORED


def test_what_servers_make_of_a_second_start():
    """Unknown ones replace the first, as PEP 3333 has it; granian only while the call runs."""
    source = "def ask(**when): return second_start(**when)"
    assert second_start(has_returned=False) is second_start(has_returned=True) is SecondStart.REPLACES
    for module, in_call, behind in (
        ("gunicorn.workers.sync", SecondStart.ADDS_HEADERS, SecondStart.ADDS_HEADERS),
        ("a2wsgi.wsgi", SecondStart.IS_IGNORED, SecondStart.IS_IGNORED),
        ("granian.wsgi", SecondStart.REPLACES, SecondStart.IS_IGNORED),
    ):
        ask = in_module(module, source, second_start=second_start).ask
        assert (ask(has_returned=False), ask(has_returned=True)) == (in_call, behind)


def test_an_encoded_body_has_no_503_added_to_it():
    """Its text would be read in that encoding."""
    assert is_encoded([TEXT, ("content-encoding", "gzip")])
    assert not is_encoded([TEXT])


@pytest.mark.parametrize("package", ["gunicorn", "cheroot"])
@pytest.mark.parametrize("application", [says_first, starts_first, says_in_its_body])
@pytest.mark.parametrize(("header", "is_whole"), [(TEXT, True), (("Content-Encoding", "gzip"), False)])
def test_a_failing_store_is_503_where_headers_are_added(header, is_whole, application, package, sink):
    """But behind the headers of an encoded body, where the store's error is raised."""
    sink.error = unavailable()

    def more(environ, start_response):
        return application(environ, lambda status, headers: start_response(status, [*headers, header]))

    server = in_module(f"{package}.http", "def serve(app): return exchange(app)", exchange=exchange)
    answer = server.serve(AP4RMiddleware(more, store=sink))
    assert (answer.raised is None) is is_whole
    assert answer.code in (500, 503)


@pytest.mark.parametrize("length", [None, 4, 500])
def test_a_server_that_adds_headers_sends_a_whole_503(length):
    """Each header is there once, and the body is as long as the Content-Length that the first start told."""
    first = [TEXT] if length is None else [TEXT, ("content-length", str(length))]
    headers, text = refusal(RuntimeError("the store is away"))
    added, body = added_to(first, headers, text, length)
    names = [name.lower() for name, _ in (*first, *added)]
    assert len(names) == len(set(names))
    sent = {name.lower(): value for name, value in (*first, *added)}
    assert int(sent["content-length"]) == len(body)
    assert sent["retry-after"]


@pytest.mark.parametrize("chunk", [bytearray(b"x"), memoryview(b"x"), 5, None])
def test_a_chunk_that_is_no_bytes_stores_nothing(chunk, sink):
    """Servers fail with it when the messages are stored; so it fails before."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response("200 OK", [TEXT])
        return [chunk]

    answer = exchange(AP4RMiddleware(application, store=sink))
    assert isinstance(answer.raised, ValueError)
    assert not sink.puts


@pytest.mark.parametrize("as_list", [True, False], ids=["list", "generator"])
@pytest.mark.parametrize(
    ("server", "status", "headers", "is_sent"),
    [
        ("gevent.pywsgi", "204 No Content", [], False),
        ("gevent.pywsgi", "304 Not Modified", [], False),
        ("gevent.pywsgi", "200 OK", [("Content-Length", "2")], True),
        ("cheroot.wsgi", "200 OK", [("Content-Length", "2")], False),
        ("cheroot.wsgi", "200 OK", [("Content-Length", "3")], True),
        ("cheroot.wsgi", "204 No Content", [], True),
        ("waitress.task", "204 No Content", [], True),
        ("waitress.task", "200 OK", [("Content-Length", "2")], True),
    ],
)
def test_a_body_that_its_server_does_not_send_stores_nothing(
    server, status, headers, is_sent, as_list, sink, monkeypatch
):
    """Where the server answers 500 in place of a success with such a body, its messages are not stored."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        start_response(status, [TEXT, *headers])
        return [b"odd"] if as_list else iter([b"odd"])

    module = in_module(server, "def serve(app): return exchange(app)", exchange=exchange)
    monkeypatch.setitem(sys.modules, server, module)
    monkeypatch.setitem(sys.modules, server.partition(".")[0], in_module(server.partition(".")[0]))
    answer = module.serve(AP4RMiddleware(application, store=sink))
    assert bool(sink.puts) is is_sent
    assert (answer.raised is None) is is_sent


@pytest.mark.parametrize("app", [None, "shop:application", 5])
def test_what_cannot_be_called_is_no_application(app, sink):
    """The error comes when the middleware is created, not at the first request."""
    with pytest.raises(ConfigError, match="is not callable"):
        AP4RMiddleware(app, store=sink)

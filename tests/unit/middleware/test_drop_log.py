"""Messages that are dropped behind a connection that was taken over or has ended are logged, at most once a minute."""

from __future__ import annotations

import pytest

from ap4r.middleware import AP4RMiddleware
from ap4r.middleware.response.drop_log import DropLog
from tests.support.sink import MemorySink
from tests.support.wire import exchange, make_environ


class TestDropLog:
    def test_each_path_is_reported_once_a_minute(self, caplog):
        """And again when the minute is over."""
        now = [1_000.0]
        drops = DropLog(lambda: now[0])
        for at, path in ((0, "/a"), (1, "/a"), (2, "/b"), (59, "/a"), (60, "/a"), (61, "/b")):
            now[0] = 1_000.0 + at
            drops.log("GET", path, 2, is_taken_over=True)
        assert [record.args[1] for record in caplog.records] == ["/a", "/b", "/a"]
        now[0] += 60
        drops.log("GET", "/b", 2, is_taken_over=False)
        assert len(caplog.records) == 4

    def test_nothing_dropped_is_nothing_logged(self, caplog):
        """A connection that ends without messages is none of our business."""
        DropLog().log("GET", "/a", 0, is_taken_over=True)
        assert not caplog.records

    def test_paths_are_remembered_within_a_bound(self, caplog):
        """A stranger who makes up paths fills neither the memory nor the log."""
        drops = DropLog(lambda: 0.0)
        for number in range(5_000):
            drops.log("GET", f"/{number}", 1, is_taken_over=True)
        assert len(caplog.records) == 1_000


def says_and(end):
    """Create an application that requests a call and ends its request so."""

    def application(environ, start_response):
        environ["ap4r"].async_to("/work")
        return end(start_response)

    return application


def raising(error):
    """End with an exception."""

    def end(start_response):
        raise error

    return end


def streaming(start_response):
    """Answer without an end."""
    start_response("200 OK", [])
    return (b"0123456789" for _ in range(10_000))


@pytest.mark.parametrize(
    "end", [raising(StopIteration()), raising(ConnectionResetError()), raising(SystemExit()), lambda _: []]
)
def test_a_connection_that_was_taken_over_is_reported(end, caplog):
    """As WebSocket handlers leave it under gunicorn, werkzeug and others."""
    sink = MemorySink()
    app = AP4RMiddleware(says_and(end), store=sink)
    for _ in range(3):
        exchange(app, make_environ(path="/ws"))
    assert sink.calls == 0
    [record] = caplog.records
    assert "'/ws': messages that waited for success are dropped (1)" in record.getMessage()


def test_a_client_that_left_is_reported(caplog):
    """Its messages were not stored, and no other line says so."""
    exchange(AP4RMiddleware(says_and(streaming), store=MemorySink()), leave_after=2)
    assert "the connection ended before its response did" in caplog.text


@pytest.mark.parametrize("end", [raising(KeyError()), lambda start: start("404 Not Found", []) and []])
def test_a_failure_that_the_server_reports_is_not_reported_again(end, caplog):
    """An exception of the application, and an answer that is no success."""
    exchange(AP4RMiddleware(says_and(end), store=MemorySink()))
    assert not caplog.records

"""One call of an application by `--app`, and the bytes that it becomes."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.app_server.wsgi_response import ClientLeft, WsgiResponse


class Call:
    """Calls an application once, and keeps what was sent."""

    def __init__(self, app, *, method="GET", version="HTTP/1.1", keep=True, lost_after=None):
        self.sends = []
        self._lost_after = lost_after
        response = WsgiResponse(method, version, keep, self._send)
        self.kept = response.run(app, {"RAW_URI": "/"})
        head, _, self.body = b"".join(self.sends).partition(b"\r\n\r\n")
        self.status, *lines = head.decode("latin-1").split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in lines)

    def _send(self, data):
        if self._lost_after is not None and len(self.sends) >= self._lost_after:
            raise ClientLeft
        self.sends.append(data)


class Body:
    """An iterable whose end and close() are seen."""

    def __init__(self, *chunks, fail=False):
        self.chunks = list(chunks)
        self.closed = 0
        self.fail = fail

    def __iter__(self):
        return self

    def __next__(self):
        if not self.chunks:
            raise StopIteration
        return self.chunks.pop(0)

    def close(self):
        """Count, and fail where that is asked for."""
        self.closed += 1
        if self.fail:
            raise RuntimeError("close() failed")


def answering(body, *headers, status="200 OK"):
    """Create an application."""

    def app(environ, start_response):
        start_response(status, list(headers))
        return body

    return app


def test_without_a_length_the_body_is_chunked():
    """Each part is sent as it comes; empty ones are left out, for an empty chunk is the end."""
    call = Call(answering([b"one", b"", b"two"]))
    assert call.body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert call.headers["Transfer-Encoding"] == "chunked"
    assert (call.headers["Connection"], call.kept) == ("keep-alive", True)
    assert len(call.sends) == 3


def test_an_old_client_has_the_end_of_the_connection():
    """HTTP/1.0 knows no chunks: only a length keeps the connection."""
    call = Call(answering([b"one", b"two"]), version="HTTP/1.0")
    assert (call.body, call.headers["Connection"], call.kept) == (b"onetwo", "close", False)
    assert Call(answering([b"one"], ("Content-Length", "3")), version="HTTP/1.0").kept


def test_a_length_is_kept_to():
    """What is beyond it is not sent; after less the connection is closed, so that nothing passes for the rest."""
    long = Call(answering([b"one", b"two"], ("Content-Length", "4")))
    assert (long.body, long.kept) == (b"onet", True)
    short = Call(answering([b"one"], ("Content-Length", "4")))
    assert (short.body, short.kept) == (b"one", False)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
def test_what_has_no_body_gets_none(method, status):
    """The application runs to its end, and the connection stays in step."""
    body = Body(b"one", b"two")
    call = Call(answering(body, status=status), method=method)
    assert (call.body, call.kept, body.closed, body.chunks) == (b"", True, 1, [])
    assert "Transfer-Encoding" not in call.headers


def test_headers_are_the_applications():
    """In its own spelling, without those of the connection, which are the server's."""
    call = Call(
        answering([b""], ("x-OWN", " a "), ("Connection", "upgrade"), ("Transfer-Encoding", "gzip"), ("Date", "mine"))
    )
    assert call.headers["x-OWN"] == "a"
    assert (call.headers["Date"], call.headers["Connection"]) == ("mine", "keep-alive")
    assert call.headers["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK\r\nX: y", []),
        ("OK", []),
        (b"200 OK", []),
        ("200 OK", [("A\n", "b")]),
        ("200 OK", [("A", "b\r\nC: d")]),
        ("200 OK", [("A", 1)]),
        ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
    ],
)
def test_a_start_that_cannot_be_sent_is_a_failure(status, headers):
    """The client has 500, and nothing of what the application said."""
    call = Call(answering([b"x"], *headers, status=status))
    assert (call.status, call.kept) == ("HTTP/1.1 500 Internal Server Error", False)


def test_the_start_can_be_replaced_until_it_is_sent():
    """With exc_info: before the first bytes the new start is sent, after them the exception comes back."""
    raised = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "99")])
        error = RuntimeError("late")
        start_response("500 Sorry", [], (RuntimeError, error, None))
        yield b"sorry"
        try:
            start_response("502 Worse", [], (RuntimeError, error, None))
        except RuntimeError as again:
            raised.append(again is error)

    call = Call(app)
    assert (call.status, call.body, raised) == ("HTTP/1.1 500 Sorry", b"5\r\nsorry\r\n0\r\n\r\n", [True])


def test_a_start_comes_once():
    """Twice without exc_info, never, or after the first bytes: each is the application's failure."""

    def twice(environ, start_response):
        start_response("200 OK", [])
        start_response("201 Created", [])
        return [b"x"]

    def late(environ, start_response):
        yield b"x"

    for app in (twice, late, lambda environ, start_response: [b"x"], lambda environ, start_response: []):
        assert Call(app).status == "HTTP/1.1 500 Internal Server Error"


def test_what_is_written_goes_before_what_is_returned():
    """PEP 3333's write()."""

    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Length", "6")])
        write(b"one")
        return [b"two"]

    assert Call(app).body == b"onetwo"


def test_a_failure_in_the_middle_is_no_end():
    """The last chunk is missing, the connection is not kept, and the iterable is closed."""

    def chunks():
        yield b"one"
        raise RuntimeError("broken")

    call = Call(answering(chunks()))
    assert (call.body, call.kept) == (b"3\r\none\r\n", False)


def test_close_is_called_once():
    """After the end, after a failure of its own, and when the client has left."""
    for app_body, more in ((Body(b"x"), {}), (Body(b"x", fail=True), {}), (Body(b"x", b"y"), {"lost_after": 1})):
        call = Call(answering(app_body), **more)
        assert app_body.closed == 1
        assert call.kept is (not app_body.fail and not more)


def test_hints_come_before_the_response():
    """As an interim response; never to HTTP/1.0, never after the start has left."""

    def app(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        start_response("200 OK", [("Content-Length", "1")])
        yield b"x"
        environ["wsgi.early_hints"]([("Link", "</b.css>; rel=preload")])

    assert b"".join(Call(app).sends).startswith(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200"
    )
    assert b"103" not in b"".join(Call(app, version="HTTP/1.0").sends)

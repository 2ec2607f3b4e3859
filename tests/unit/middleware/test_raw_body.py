"""The body of a request that is read before the application, and given back."""

from __future__ import annotations

import io

import pytest

from ap4r.middleware.deliveries.raw_body import BodyRefused, take_body


class Trickle(io.BytesIO):
    """Gives a byte at a time, as a slow network does."""

    def read(self, size=-1):
        """Return one byte."""
        return super().read(min(size, 1))


class Hanging:
    """A stream that never ends: reading behind the body would wait for ever."""

    def read(self, size=-1):
        """Fail the test."""
        raise AssertionError("read behind the body")


class Broken:
    """A connection that breaks."""

    def read(self, size=-1):
        """Break."""
        raise OSError("reset")


def _environ(stream, length=None, **more):
    return {"wsgi.input": stream, **({} if length is None else {"CONTENT_LENGTH": length}), **more}


@pytest.mark.parametrize("stream", [io.BytesIO(b"12345behind"), Trickle(b"12345behind")])
def test_a_body_is_read_to_its_length_and_given_back(stream):
    """No byte more, no byte less; the application reads the same body."""
    environ = _environ(stream, "5")
    assert take_body(environ, 5) == b"12345"
    assert environ["wsgi.input"].read() == b"12345"
    assert environ["CONTENT_LENGTH"] == "5"
    assert stream.read(1) == b"b"


def test_a_chunked_body_gets_a_length():
    """Where the server ends the stream itself, the body is read to that end and has a Content-Length from then on."""
    environ = _environ(Trickle(b"12345"), **{"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"})
    assert take_body(environ, 5) == b"12345"
    assert environ["CONTENT_LENGTH"] == "5"
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert environ["wsgi.input"].read() == b"12345"


@pytest.mark.parametrize("length", [None, ""])
def test_without_a_length_there_is_no_body(length):
    """A request without a length has no body: nothing is read, and nothing is left for the application to read."""
    environ = _environ(Hanging(), length)
    assert take_body(environ, 5) == b""
    assert environ["wsgi.input"].read() == b""
    assert environ["CONTENT_LENGTH"] == "0"


def test_the_application_reads_what_was_read_here():
    """Where a server passes on a length and a coding, the body of that length is the only one that is left."""
    environ = _environ(
        io.BytesIO(b"chunked"), "0", **{"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    )
    assert take_body(environ, 50) == b""
    assert environ["wsgi.input"].read() == b""
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_an_empty_body_is_one():
    """Content-Length 0 is read without reading."""
    assert take_body(_environ(Hanging(), "0"), 5) == b""


@pytest.mark.parametrize(
    ("stream", "length", "more", "status"),
    [
        (Hanging(), "6", {}, "413"),
        (Hanging(), None, {"HTTP_TRANSFER_ENCODING": "chunked"}, "411"),
        (io.BytesIO(b"123456"), None, {"wsgi.input_terminated": True}, "413"),
        (io.BytesIO(b"123"), "5", {}, "400"),
        (Broken(), "5", {}, "400"),
        (Hanging(), "-1", {}, "400"),
        (Hanging(), "five", {}, "400"),
        (Hanging(), "٣", {}, "400"),
        (Hanging(), "1" * 5_000, {}, "400"),
    ],
)
def test_what_cannot_be_read_is_refused(stream, length, more, status):
    """Too long, cut short, broken, or of no sensible length: a status, never an exception of another kind."""
    with pytest.raises(BodyRefused) as refused:
        take_body(_environ(stream, length, **more), 5)
    assert refused.value.status.startswith(status)

"""What the start of a response says about its body, and whether a server could refuse it."""

from __future__ import annotations

import pytest

from ap4r.middleware.response.start import Start


@pytest.mark.parametrize(
    ("method", "status", "bodiless"),
    [
        ("GET", "200 OK", False),
        ("HEAD", "200 OK", True),
        ("POST", "204 No Content", True),
        ("GET", "304 Not Modified", True),
        ("GET", "101 Switching Protocols", True),
        ("GET", "303 See Other", False),
        ("HEAD", "500 Oh", True),
        ("GET", "strange", False),
    ],
)
def test_which_responses_are_whole_without_a_body(method, status, bodiless):
    """HEAD, 1xx, 204 and 304 are."""
    assert Start(status, [], method).bodiless is bodiless


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], None),
        ([("Content-Length", "0")], 0),
        ([("X", "1"), ("content-LENGTH", "12")], 12),
        ([("Content-Length", "-1")], None),
        ([("Content-Length", "1_0")], None),
        ([("Content-Length", "٣")], None),
        ([("Content-Length", "9" * 5_000)], None),
        ([("Content-Length", None)], None),
        ([(1, 2)], None),
        ([()], None),
        (None, None),
    ],
)
def test_the_length_that_the_headers_tell(headers, length):
    """It is read without regard to case; what is no number, and what is no header, tells none."""
    assert Start("200 OK", headers, "GET").content_length == length


@pytest.mark.parametrize(
    ("status", "headers", "plain"),
    [
        ("200 OK", [], True),
        ("200 OK", [("Content-Length", "1"), ("X-Y", "a\tb"), ("Set-Cookie", "a=b; Path=/")], True),
        ("200", [], False),
        ("OK", [], False),
        (200, [], False),
        ("200 OK\r\nX: y", [], False),
        ("200 OK", (), False),
        ("200 OK", [["X", "y"]], False),
        ("200 OK", [("X", b"y")], False),
        ("200 OK", [("X", "a\r\nSet-Cookie: b")], False),
        ("200 OK", [("X", "a\x00")], False),
        ("200 OK", [("X", "€")], False),
        ("200 OK", [("X", "é")], False),
        ("200 Très bien", [], False),
        ("200 OK", [("X y", "a")], False),
        ("200 OK", [("", "a")], False),
        ("200 OK", [("Connection", "close")], False),
        ("200 OK", [("Transfer-Encoding", "chunked")], False),
        ("200 OK", [("Content-Length", "ten")], False),
        ("200 OK", [("Status", "200")], False),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")], False),
        ("2000 OK", [], False),
    ],
)
def test_a_start_that_some_server_may_refuse_is_known_as_odd(status, headers, plain):
    """Such a start is shown to the server before the messages are stored."""
    assert Start(status, headers, "GET").is_plain() is plain


@pytest.mark.parametrize(
    ("status", "code"),
    [("200 OK", 200), ("200", 200), ("200 ", 200), ("299  ", 299), ("600 Own", 600)]
    + [(status, None) for status in ("2000 OK", "200\tOK", "20 OK", "20X OK", "099 Low", "", b"200 OK", 200, None)],
)
def test_what_a_status_is_as_a_number(status, code):
    """Three digits, and behind them nothing or a blank (PEP 3333)."""
    assert Start(status, [], "GET").code == code


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([("X-Y", "z"), ("Content-Length", "5"), ("content-length", "5")], ""),
        ([("X-Y", "\xe9\t")], ""),
        ([("X", 5)], "the header 'X' is of type int, not str"),
        ([(b"X", "5")], "the name of the header b'X' is no str"),
        ([("X y", "5")], "'X y' is no name of a header"),
        ([("Content-Length", "-5")], "the header 'Content-Length' is no one number of bytes"),
        ([("Content-Length", "5"), ("content-length", "6")], "the header 'content-length' is no one number of bytes"),
        ((("X", 5),), ""),
        (["ab"], ""),
    ],
)
def test_what_makes_headers_malformed(headers, problem):
    """The error names it; what is no list of pairs is every server's to refuse."""
    assert Start("200 OK", headers, "GET").problem() == problem

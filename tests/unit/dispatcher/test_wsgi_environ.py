"""The environ that an application of `--app` is given."""

from __future__ import annotations

import io

import pytest

from ap4r.dispatcher.app_server.environ import BadRequest, Ends, build_environ, check_request, split_target

LOOPBACK = Ends("127.0.0.1", 50_000, "127.0.0.1", 8000)
ELSEWHERE = Ends("192.0.2.7", 50_000, "192.0.2.1", 8000)
SOCKET = Ends("", None, "/run/app.sock", None)


def environ(target=b"/", headers=(), ends=ELSEWHERE):
    """Build the environ of a GET."""
    return build_environ(b"GET", target, b"HTTP/1.1", headers, ends, io.BytesIO(), io.StringIO())


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b", "/a/b", ""),
        ("/a%2Fb?c=%20d", "/a%2Fb", "c=%20d"),
        ("/a?b?c", "/a", "b?c"),
        ("//a//b?c", "//a//b", "c"),
        ("//[", "//[", ""),
        ("http://example.org/a/b?c", "/a/b", "c"),
        ("http://example.org", "", ""),
        ("/a#b", "/a", ""),
        ("*", "*", ""),
    ],
)
def test_a_target_is_split(target, path, query):
    """Of each form of a target there is a path and a query (RFC 9112, section 3.2)."""
    assert split_target(target) == (path, query)


def test_a_path_is_decoded_once_as_bytes():
    """PATH_INFO has each byte as a character; `%252F` stays encoded."""
    assert environ(b"/caf%C3%A9/%252F%2F")["PATH_INFO"] == "/caf\xc3\xa9/%2F/"


def test_headers_become_keys():
    """Repeated ones are joined, those of the body have keys of their own, and no underscore passes for a hyphen."""
    built = environ(
        headers=[
            (b"X-A", [b"1", b"2"]),
            (b"X_A", [b"spoofed"]),
            (b"Content-Type", [b"text/plain"]),
            (b"Content-Length", [b"3"]),
        ]
    )
    assert built["HTTP_X_A"] == "1,2"
    assert (built["CONTENT_TYPE"], built["CONTENT_LENGTH"]) == ("text/plain", "3")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(built)
    assert built["wsgi.input_terminated"] is True


def test_only_a_neighbour_names_the_scheme():
    """X-Forwarded-Proto counts from this host alone; two schemes are refused."""
    https = [(b"X-Forwarded-Proto", [b"https"])]
    assert environ(headers=https, ends=LOOPBACK)["wsgi.url_scheme"] == "https"
    assert environ(headers=https, ends=ELSEWHERE)["wsgi.url_scheme"] == "http"
    assert environ(headers=https, ends=SOCKET)["wsgi.url_scheme"] == "https"
    with pytest.raises(BadRequest):
        environ(headers=[*https, (b"X-Forwarded-Ssl", [b"off"])], ends=LOOPBACK)


def test_a_server_has_a_name():
    """It is the address that listens; on a UNIX socket, what the client calls it."""
    assert (environ()["SERVER_NAME"], environ()["SERVER_PORT"]) == ("192.0.2.1", "8000")
    called = environ(headers=[(b"Host", [b"shop.example:81"])], ends=SOCKET)
    assert (called["SERVER_NAME"], called["SERVER_PORT"]) == ("shop.example", "81")
    assert environ(headers=[(b"Host", [b"shop.example"])], ends=SOCKET)["SERVER_PORT"] == "80"
    assert environ(ends=SOCKET)["SERVER_NAME"] == "/run/app.sock"


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        (b"get", b"/", {}, 400),
        (b"GET", b"*", {}, 400),
        (b"GET", b"example.org:80", {}, 400),
        (b"GET", b"/caf\xc3\xa9", {}, 400),
        (b"GET", b"/", {b"host": [b"a", b"b"]}, 400),
        (b"POST", b"/", {b"content-type": [b"text/plain", b"text/html"]}, 400),
        (b"POST", b"/", {b"expect": [b"a cake"]}, 417),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(method, target, headers, status):
    """It never reaches the application."""
    with pytest.raises(BadRequest) as refused:
        check_request(method, target, headers)
    assert refused.value.status == status


def test_usual_requests_are_taken():
    """Methods of any name, and each form of a target."""
    for method, target in (
        (b"GET", b"/"),
        (b"OPTIONS", b"*"),
        (b"M-SEARCH", b"/x"),
        (b"GET", b"http://a/b"),
        (b"CONNECT", b"a:1"),
    ):
        check_request(method, target, {b"host": [b"a"], b"expect": [b"100-Continue"]})

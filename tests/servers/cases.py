"""The cases: bytes that a client writes, and whether what the application says then is to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

HOST = "Host: testserver"
CLOSE = "Connection: close"


@dataclass(frozen=True)
class Ask:
    """One request. `%` stands for the headers that choose the application and its mount."""

    line: str
    headers: Sequence[str | bytes] = (HOST, CLOSE)
    body: bytes = b""
    answer: str = "echo"

    def bytes_of(self, mount: str, say: bool, name: str) -> bytes:
        """Write the request."""
        own = [f"X-Case: {self.answer}", f"X-Mount: {mount}", f"X-Say: {int(say)}", f"X-Request: {name}"]
        lines = [self.line, *self.headers, *own]
        written = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
        return b"\r\n".join([*written, b"", b""]) + self.body


@dataclass(frozen=True)
class Case:
    """A connection with one or more requests.

    `stored` says of a message that each request's application says: True, False, or None where servers differ and
    either is right. `waits`: the next request is written when the answer before is here. `leaves`: the client goes
    after so many bytes. `half`: it closes its half after the last byte.
    """

    name: str
    asks: Sequence[Ask]
    stored: bool | None = True
    waits: bool = False
    half: bool = False
    leaves: int | None = None
    tags: frozenset[str] = field(default_factory=frozenset)


def _get(name: str, target: str, **more: object) -> Case:
    return Case(name, [Ask(f"GET {target} HTTP/1.1")], **more)  # type: ignore[arg-type]


def _method(name: str, method: str, target: str = "/a", body: bytes | None = None) -> Case:
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    return Case(name, [Ask(f"{method} {target} HTTP/1.1", [HOST, CLOSE, *length], body or b"")])


def _headers(name: str, *headers: str | bytes, line: str = "GET /a HTTP/1.1") -> Case:
    return Case(name, [Ask(line, [HOST, CLOSE, *headers])])


def _post(name: str, *headers: str, body: bytes, **more: object) -> Case:
    return Case(name, [Ask("POST /a HTTP/1.1", [HOST, CLOSE, *headers], body)], **more)  # type: ignore[arg-type]


def _answered(
    answer: str, stored: bool | None = True, line: str = "GET /a HTTP/1.1", name: str = "", **more: object
) -> Case:
    return Case(name or answer, [Ask(line, answer=answer)], stored, **more)  # type: ignore[arg-type]


CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

CASES: tuple[Case, ...] = (
    # what is asked for
    _get("root", "/"),
    _get("query", "/a?b=c&d=%20+e"),
    _get("encoded slash", "/a%2Fb%20c"),
    _get("UTF-8 path", "/caf%C3%A9"),
    _get("path that is no text", "/%ff%fe"),
    _get("raw byte in a path", "/caf\xe9"),
    _get("double slashes", "//a//b"),
    _get("dot segments", "/a/../b/./c"),
    _get("empty query", "/a?"),
    _get("question mark in a query", "/a?b?c"),
    _get("broken percent", "/a%zz%"),
    _get("fragment", "/a#b"),
    _get("long path", "/" + "a" * 3_000),
    _get("absolute form", "http://testserver/abs/olute?x=1"),
    _get("absolute form without a path", "http://testserver"),
    _method("asterisk form", "OPTIONS", "*"),
    # methods
    _method("POST", "POST", body=b"a=b"),
    _method("PUT", "PUT", body=b""),
    _method("DELETE", "DELETE"),
    _method("unusual method", "M-SEARCH"),
    _method("lower-case method", "get"),
    _method("HEAD", "HEAD"),
    _answered("three_chunks", line="HEAD /a HTTP/1.1", name="HEAD without a length"),
    # HEAD: a server may ask for no chunk, and then the generator never says its message
    _answered("returned_generator", line="HEAD /a HTTP/1.1", name="HEAD of a generator"),
    # versions and connections
    Case("HTTP/1.0", [Ask("GET /a HTTP/1.0", [HOST])]),
    Case("HTTP/1.0 without a length", [Ask("GET /a HTTP/1.0", [HOST], answer="three_chunks")]),
    Case(
        "HTTP/1.0 kept",
        [Ask("GET /a HTTP/1.0", [HOST, "Connection: keep-alive"]), Ask("GET /b HTTP/1.0", [HOST])],
        waits=True,
    ),
    Case("kept", [Ask("GET /a HTTP/1.1", [HOST], answer="three_chunks"), Ask("GET /b HTTP/1.1")], waits=True),
    Case("pipelined", [Ask("GET /a HTTP/1.1", [HOST]), Ask("GET /b HTTP/1.1")]),
    Case(
        "pipelined bodies",
        [
            Ask("POST /a HTTP/1.1", [HOST, "Content-Length: 3"], b"abc"),
            Ask("POST /b HTTP/1.1", [HOST, "Content-Length: 0"]),
            Ask("POST /c HTTP/1.1", [HOST, CLOSE, "Content-Length: 2"], b"de"),
        ],
    ),
    # headers
    _headers("header twice", "X-A: 1", "X-A: 2"),
    _headers("underscore", "X-A: mine", "X_A: spoofed", "X_B: spoofed"),
    _headers("blanks and nothing", "X-A:   a b \t", "X-B:"),
    _headers("Latin-1", b"X-A: \xe9t\xe9"),
    _headers("folded", "X-A: a\r\n b"),
    _headers("long header", "X-A: " + "a" * 7_000),
    _headers("two cookies", "Cookie: a=1", "Cookie: b=2"),
    Case("two hosts", [Ask("GET /a HTTP/1.1", [HOST, "Host: other", CLOSE])]),
    # bodies
    _post("chunked", CHUNKED, body=CHUNKS),
    _post("chunked with a trailer", CHUNKED, body=b"3;x=y\r\nabc\r\n0\r\nX-Trailer: a\r\n\r\n"),
    _post("broken chunks", CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n", stored=None),
    _post("chunked and a length", "Content-Length: 3", CHUNKED, body=CHUNKS, stored=None),
    _post("gzip, chunked", "Transfer-Encoding: gzip, chunked", body=CHUNKS, stored=None),
    _post("length that is no number", "Content-Length: 3x", body=b"abc", stored=None),
    _post("body cut short", "Content-Length: 10", body=b"abc", stored=None, half=True),
    _post("big body", "Content-Length: 300000", body=b"abc" * 100_000),
    _post("expects 100", "Expect: 100-continue", "Content-Length: 3", body=b"abc"),
    Case(
        "body that is not read",
        [Ask("POST /a HTTP/1.1", [HOST, "Content-Length: 3"], b"abc", answer="unread"), Ask("GET /b HTTP/1.1")],
        waits=True,
    ),
    # answers
    _answered("no_chunks"),
    _answered("one_chunk"),
    _answered("three_chunks"),
    _answered("three_chunks_with_length"),
    _answered("generator"),
    _answered("generator_with_length"),
    _answered("empty_chunks"),
    _answered("big"),
    _answered("big_in_parts"),
    _answered("written"),
    _answered("written_and_returned"),
    _answered("file_wrapper"),
    _answered("real_file"),
    _answered("no_content"),
    _answered("not_modified"),
    _answered("headers"),
    _answered("replaced_start", stored=False),
    _answered("raises_in_the_middle", stored=False),
    _answered("close_raises", stored=None),
    _answered("endless", stored=False, leaves=100_000, name="client leaves"),
)
#: Beyond the usual number: failures of the application, and answers that PEP 3333 does not allow.
MORE: tuple[Case, ...] = (
    _answered("see_other"),
    _answered("odd_reason"),
    _answered("old_sequence"),
    _answered("own_server_headers"),
    _answered("early_hints"),
    _answered("not_found", stored=False),
    _answered("own_500", stored=False),
    _answered("late_replacement", stored=False),
    _answered("raises_first", stored=False),
    _answered("raises_after_start", stored=False),
    _answered("never_starts", stored=False),
    _answered("starts_twice", stored=False),
    _answered("too_long"),
    _answered("too_short", stored=None),
    _answered("injected", stored=None),
    Case("no host", [Ask("GET /a HTTP/1.1", [CLOSE])]),
    _headers("expects a cake", "Expect: a cake"),
    _get("authority form", "testserver:80", stored=None),
)

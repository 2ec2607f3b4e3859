"""Every kind of application that PEP 3333 allows, each with and without messages, for servers to serve.

`/KIND?messages=1&request=NAME` answers as the kind says; with messages it says them before the last chunk, where it
can in the middle, and with `notice=1` one more each for the case of a failure. Without the middleware it says none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
Say = Callable[[], None]
Kind = Callable[[Environ, Any, Say], Iterable[bytes]]

LONG_CHUNK = b"0123456789abcdef" * 2_048  # 32 KiB
TEXT = ("Content-Type", "text/plain")

GOOD: dict[str, Kind] = {}  #: whole successes
BAD: dict[str, Kind] = {}  #: failures
ODD: dict[str, Kind] = {}  #: successes that some servers send, and others answer 500 for


class Broken(Exception):
    """What an application raises on purpose."""


class Chunks:
    """An iterable of the old kind, which is closed, and counts that."""

    closed = 0

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        """Count."""
        self.closed += 1


class Sized(Chunks):
    """The same, which knows how many chunks it has."""

    def __len__(self) -> int:
        return len(self._chunks)  # type: ignore[arg-type]


def _good(kind: Kind) -> Kind:
    GOOD[kind.__name__] = kind
    return kind


def _bad(kind: Kind) -> Kind:
    BAD[kind.__name__] = kind
    return kind


def _length(size: int) -> tuple[str, str]:
    return ("Content-Length", str(size))


@_good
def one_chunk(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A list of one chunk."""
    say()
    start_response("200 OK", [TEXT])
    return [b"done\n"]


@_good
def one_chunk_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A tuple of one chunk, with its length."""
    start_response("200 OK", [TEXT, _length(5)])
    say()
    return (b"done\n",)


@_good
def nothing(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An empty list."""
    say()
    start_response("200 OK", [TEXT])
    return []


@_good
def nothing_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A generator of nothing, with its length."""
    say()
    start_response("200 OK", [TEXT, _length(0)])
    return iter(())


@_good
def several_chunks(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A list of chunks, empty ones among them."""
    say()
    start_response("200 OK", [TEXT])
    return [b"", b"do", b"", b"ne", b"\n", b""]


@_good
def several_chunks_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """The same, with its length."""
    say()
    start_response("200 OK", [TEXT, _length(5)])
    return [b"", b"do", b"", b"ne", b"\n", b""]


@_good
def generator(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A generator that says its messages on the way."""

    def body() -> Iterator[bytes]:
        yield b"do"
        say()
        yield b"ne"
        yield b"\n"

    start_response("200 OK", [TEXT])
    return body()


@_good
def generator_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """The same, with its length."""

    def body() -> Iterator[bytes]:
        yield b"do"
        yield b"ne"
        say()
        yield b"\n"

    start_response("200 OK", [TEXT, _length(5)])
    return body()


@_good
def late_generator(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """A generator that starts the response when it is iterated."""
    say()
    start_response("201 Created", [TEXT])
    yield b""
    yield b"do"
    yield b""
    yield b"ne\n"


@_good
def late_generator_with_length(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """The same, with its length, and code that runs behind it."""
    say()
    start_response("201 Created", [TEXT, _length(5)])
    yield b"do"
    yield b"ne\n"
    environ["tests.ran_on"] = True


@_good
def closed_iterable(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An iterable of the old kind with a close()."""
    say()
    start_response("200 OK", [TEXT, _length(5)])
    return Chunks([b"do", b"ne\n"])


@_good
def sized_iterable(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An iterable of one chunk that is no list: servers tell its length."""
    say()
    start_response("200 OK", [TEXT])
    return Sized([b"done\n"])


@_good
def written(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """write() and nothing else."""
    write = start_response("200 OK", [TEXT])
    write(b"do")
    say()
    write(b"")
    write(b"ne\n")
    return []


@_good
def written_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """The same, with its length."""
    say()
    write = start_response("200 OK", [TEXT, _length(5)])
    write(b"do")
    write(b"ne\n")
    return ()


@_good
def written_and_returned(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """write(), and an iterable behind it."""
    say()
    write = start_response("200 OK", [TEXT, _length(10)])
    write(b"do")
    return (chunk for chunk in (b"ne\n", b"more\n"))


@_good
def long_stream(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """More than is ever held, and no length; the messages come at its end."""
    start_response("200 OK", [TEXT])
    for _ in range(4):
        yield LONG_CHUNK
    say()
    yield b"end\n"


@_good
def long_stream_with_length(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """The same with its length; the messages come first."""
    say()
    start_response("200 OK", [TEXT, _length(4 * len(LONG_CHUNK) + 4)])
    for _ in range(4):
        yield LONG_CHUNK
    yield b"end\n"


@_good
def redirect(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A redirect with an empty body."""
    say()
    start_response("303 See Other", [TEXT, ("Location", "http://testserver/elsewhere"), _length(0)])
    return [b""]


@_good
def no_content(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A 204, which is whole without a body."""
    say()
    start_response("204 No Content", [])
    return iter(())


@_good
def not_modified(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A 304, which is whole without a body."""
    say()
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


@_good
def file(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A file in the server's own wrapper."""
    say()
    start_response("200 OK", [TEXT])
    return _wrapped(environ)


@_good
def file_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """The same, with its length."""
    say()
    start_response("200 OK", [TEXT, _length(os.path.getsize(__file__))])
    return _wrapped(environ)


def _wrapped(environ: Environ) -> Iterable[bytes]:
    opened = open(__file__, "rb")  # noqa: SIM115 - the server closes it
    if "wsgi.file_wrapper" in environ:
        return environ["wsgi.file_wrapper"](opened, 4_096)  # type: ignore[no-any-return]
    with opened:
        return iter([opened.read()])


@_good
def replaced_early(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A start that another replaces before anything has left."""
    try:
        raise Broken("replaced")
    except Broken:
        start_response("200 OK", [TEXT], sys.exc_info())
    say()
    return [b"replaced\n"]


class BytesOfAKind(bytes):
    """Bytes that are not quite `bytes`."""


def _odd(
    name: str,
    status: Any = "200 OK",
    headers: Any = (),
    body: Iterable[bytes] = (b"done\n",),
    *,
    streams: bool = False,
) -> None:
    def kind(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
        say()
        start_response(status, [TEXT, *headers])
        return iter(body) if streams else list(body)

    ODD[name] = kind


_odd("long_status", "2000 OK")
_odd("status_without_reason", "200")
_odd("status_of_words", "OK 200")
_odd("status_of_one_blank", "200  OK")
_odd("status_with_a_tab", "200\tOK")
_odd("low_status", "099 Low")
_odd("high_status", "299 High")
_odd("status_of_bytes", b"200 OK")
_odd("status_with_a_line", "200 OK\r\nX-Injected: 1")
_odd("status_with_a_zero", "200 O\0K")
_odd("number_as_value", headers=[("X-Number", 5)])
_odd("length_as_number", headers=[("Content-Length", 5)])
_odd("none_as_value", headers=[("X-None", None)])
_odd("bytes_as_value", headers=[("X-Bytes", b"1")])
_odd("bytes_as_name", headers=[(b"X-Bytes", "1")])
_odd("value_with_a_line", headers=[("X-Line", "a\r\nX-Injected: 1")])
_odd("value_with_a_zero", headers=[("X-Zero", "a\0")])
_odd("value_with_a_bell", headers=[("X-Bell", "a\a")])
_odd("value_with_delete", headers=[("X-Delete", "a\x7f")])
_odd("value_of_latin_1", headers=[("X-Latin", "\xe9")])
_odd("value_with_c1", headers=[("X-C1", "a\x85b")])
_odd("name_with_a_blank", headers=[("X Blank", "1")])
_odd("name_with_a_colon", headers=[("X:Colon", "1")])
_odd("name_of_nothing", headers=[("", "1")])
_odd("name_of_latin_1", headers=[("X-\xe9", "1")])
_odd("hop_by_hop", headers=[("Connection", "close")])
_odd("own_chunked", headers=[("Transfer-Encoding", "chunked")])
_odd("header_of_three", headers=[("X-Three", "1", "2")])
_odd("header_as_list", headers=[["X-List", "1"]])
_odd("header_as_text", headers=["ab"])
_odd("length_of_words", headers=[("Content-Length", "five")])
_odd("two_lengths", headers=[("Content-Length", "5"), ("Content-Length", "6")])
_odd("negative_length", headers=[("Content-Length", "-5")])
_odd("too_much", headers=[("Content-Length", "3")])
_odd("two_equal_lengths", headers=[("Content-Length", "5"), ("Content-Length", "5")])
_odd("body_of_204", "204 No Content")
_odd("body_of_204_streamed", "204 No Content", streams=True)
_odd("body_of_304", "304 Not Modified")
_odd("bytes_of_a_kind", body=[BytesOfAKind(b"done\n")])
_odd("bytes_of_a_kind_streamed", body=[b"do", BytesOfAKind(b"ne\n")], streams=True)
_odd("bytearray", body=[bytearray(b"done\n")])  # type: ignore[list-item]
_odd("text_streamed", body=["done\n"], streams=True)  # type: ignore[list-item]


@_bad
def not_found(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A 404."""
    say()
    start_response("404 Not Found", [TEXT, _length(3)])
    return [b"no\n"]


@_bad
def server_error(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """A 500 from a generator."""
    say()
    start_response("500 Internal Server Error", [TEXT])
    yield b"n"
    yield b"o\n"


@_bad
def success_replaced(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A success that the application itself replaces by a failure."""
    say()
    start_response("200 OK", [TEXT, ("X-First", "1")])
    try:
        raise Broken("replaced")
    except Broken:
        start_response("500 Internal Server Error", [TEXT], sys.exc_info())
    return [b"no\n"]


@_bad
def raised_at_once(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An exception instead of a response."""
    say()
    raise Broken("at once")


@_bad
def raised_after_start(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An exception behind the start."""
    say()
    start_response("200 OK", [TEXT])
    raise Broken("after the start")


@_bad
def raised_in_body(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """An exception behind the first chunk of a short body without a length."""
    say()
    start_response("200 OK", [TEXT])
    yield b"do"
    raise Broken("in the body")


@_bad
def raised_in_body_with_length(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """An exception in a body whose length tells that it is cut."""
    say()
    start_response("200 OK", [TEXT, _length(5)])
    yield b"d"
    yield b"o"
    yield b"n"
    raise Broken("in the body")


@_bad
def raised_in_long_body(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """An exception when most of a body without a length has left."""
    say()
    start_response("200 OK", [TEXT])
    for _ in range(4):
        yield LONG_CHUNK
    raise Broken("in the long body")


@_bad
def raised_after_write(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An exception behind a body that was whole by its length, but not returned from."""
    say()
    write = start_response("200 OK", [TEXT, _length(5)])
    write(b"do")
    write(b"ne\n")
    raise Broken("after write()")


@_bad
def replaced_too_late(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """A start that comes when the first has left: the server raises."""
    say()
    start_response("200 OK", [TEXT, _length(5)])
    yield b"d"
    yield b"o"
    yield b"n"
    try:
        raise Broken("too late")
    except Broken:
        start_response("500 Internal Server Error", [TEXT], sys.exc_info())
    yield b"no\n"


@_bad
def endless(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """A stream that goes on until the client leaves (256 MiB at most)."""
    say()
    start_response("200 OK", [TEXT])
    for _ in range(8_192):
        yield LONG_CHUNK
    raise Broken("the iterator failed")


@_bad
def endless_with_length(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """The same, with a length."""
    say()
    start_response("200 OK", [TEXT, _length(8_193 * len(LONG_CHUNK))])
    for _ in range(8_192):
        yield LONG_CHUNK
    raise Broken("the iterator failed")


KINDS = {**GOOD, **BAD, **ODD}


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Answer as the last segment of the path names."""
    query = parse_qs(environ["QUERY_STRING"])

    def say() -> None:
        handle = environ.get("ap4r")
        for number in range(int(query.get("messages", ["0"])[0]) if handle is not None else 0):
            told = {"number": number, "request": query.get("request", ["none"])[0]}
            handle.async_to("/work", told)
            if "notice" in query:
                handle.async_to("/failed", told, on="failure")

    return KINDS[environ["PATH_INFO"].rpartition("/")[2]](environ, start_response, say)


def served() -> Callable[[Environ, Any], Iterable[bytes]]:
    """Build the application of a server: `/bare/KIND` without the middleware, `/kept/KIND` behind it.

    AP4R_STORE names the store; TESTS_SINK, if set, a file that stands in for it.
    """
    from ap4r.middleware import AP4RMiddleware
    from tests.support.sink import FileSink

    path = os.environ.get("TESTS_SINK")
    kept = AP4RMiddleware(application, store=FileSink(path) if path else None)

    def router(environ: Environ, start_response: Any) -> Iterable[bytes]:
        return (kept if environ["PATH_INFO"].startswith("/kept/") else application)(environ, start_response)

    return router

"""The application that each server serves: what it answers is chosen by the header X-Case of the request.

X-Mount names the way it is wrapped, `bare` or `kept`; with `X-Say: 1` the application says one message. No answer tells
of either, so that all of them can be compared byte by byte.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ap4r.middleware import AP4RMiddleware
from tests.support.sink import FileSink

Environ = dict[str, Any]
Say = Callable[[], None]
TEXT = ("Content-Type", "text/plain")
BIG = b"0123456789abcdef" * 65_536  # 1 MiB

ANSWERS: dict[str, Callable[[Environ, Any, Say], Iterable[bytes]]] = {}


class Broken(Exception):
    """What an application raises on purpose."""


def _answer(function: Callable[[Environ, Any, Say], Iterable[bytes]]) -> Any:
    ANSWERS[function.__name__] = function
    return function


def _length(size: int) -> tuple[str, str]:
    return ("Content-Length", str(size))


def read_body(environ: Environ) -> bytes:
    """Read the body as frameworks do: by its length, else to the end where the server ends it."""
    length = environ.get("CONTENT_LENGTH")
    if length:
        return bytes(environ["wsgi.input"].read(int(length)))
    return bytes(environ["wsgi.input"].read()) if environ.get("wsgi.input_terminated") else b""


@_answer
def echo(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """What an application sees of a request."""
    body = read_body(environ)
    seen = {key: environ.get(key) for key in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE")}
    seen |= {key: environ.get(f"HTTP_{key}") for key in ("HOST", "X_A", "X_B", "COOKIE", "TRANSFER_ENCODING", "EXPECT")}
    seen["SCRIPT_NAME"] = environ.get("SCRIPT_NAME")
    seen["body"] = f"{len(body)} {hashlib.sha256(body).hexdigest()[:16]}"
    text = "".join(f"{key}={value!r}\n" for key, value in seen.items()).encode("unicode-escape")
    say()
    start_response("200 OK", [TEXT, _length(len(text))])
    return [text]


@_answer
def unread(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An answer that looks at no body."""
    say()
    start_response("200 OK", [TEXT, _length(7)])
    return [b"unread\n"]


@_answer
def no_chunks(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An empty list."""
    say()
    start_response("200 OK", [TEXT])
    return []


@_answer
def one_chunk(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A list of one chunk, without a length."""
    say()
    start_response("200 OK", [TEXT])
    return [b"one\n"]


@_answer
def three_chunks(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A list of three chunks, without a length."""
    start_response("200 OK", [TEXT])
    say()
    return [b"one\n", b"two\n", b"three\n"]


@_answer
def three_chunks_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A tuple of three chunks, with their length."""
    start_response("200 OK", [TEXT, _length(14)])
    say()
    return (b"one\n", b"two\n", b"three\n")


@_answer
def generator(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """A generator, which starts at its first value and says its message in the middle."""
    start_response("200 OK", [TEXT])
    yield b"one\n"
    say()
    yield b"two\n"


@_answer
def returned_generator(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A generator after a start."""
    start_response("200 OK", [TEXT, ("X-Own", "a")])
    say()
    return (chunk for chunk in (b"one\n", b"two\n"))


@_answer
def generator_with_length(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """The same with a length."""
    start_response("200 OK", [TEXT, _length(8)])

    def chunks() -> Iterator[bytes]:
        yield b"one\n"
        say()
        yield b"two\n"

    return chunks()


@_answer
def empty_chunks(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """Chunks of nothing before, between and behind."""
    start_response("200 OK", [TEXT])
    say()
    return iter([b"", b"one\n", b"", b"two\n", b""])


@_answer
def old_sequence(environ: Environ, start_response: Any, say: Say) -> Any:
    """An object with nothing but __getitem__ and __len__, which an iterable may be."""

    class Sequence:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, place: int) -> bytes:
            return (b"one\n", b"two\n")[place]

    say()
    start_response("200 OK", [TEXT])
    return Sequence()


@_answer
def big(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A MiB in one chunk, without a length."""
    say()
    start_response("200 OK", [TEXT])
    return [BIG]


@_answer
def big_in_parts(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A MiB in 64 chunks, with a length."""
    start_response("200 OK", [TEXT, _length(len(BIG))])
    say()
    return [BIG[place : place + 16_384] for place in range(0, len(BIG), 16_384)]


@_answer
def written(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """All by write()."""
    say()
    write = start_response("200 OK", [TEXT])
    write(b"one\n")
    write(b"two\n")
    return []


@_answer
def written_and_returned(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """Some by write(), with a length."""
    write = start_response("200 OK", [TEXT, _length(8)])
    write(b"one\n")
    say()
    return [b"two\n"]


@_answer
def file_wrapper(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """What is like a file, by the server's wrapper."""
    say()
    start_response("200 OK", [TEXT, _length(9)])
    wrapper = environ.get("wsgi.file_wrapper")
    like_a_file = io.BytesIO(b"like this")
    return [like_a_file.read()] if wrapper is None else wrapper(like_a_file, 4)  # type: ignore[no-any-return]


@_answer
def real_file(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A file on the disk, by the server's wrapper, without a length."""
    say()
    file = Path(__file__).open("rb")  # noqa: SIM115 - the server closes it
    start_response("200 OK", [TEXT, _length(Path(__file__).stat().st_size)])
    wrapper = environ.get("wsgi.file_wrapper")
    return iter(lambda: file.read(8_192), b"") if wrapper is None else wrapper(file, 8_192)  # type: ignore[no-any-return]


@_answer
def no_content(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """204."""
    say()
    start_response("204 No Content", [("X-Own", "a")])
    return []


@_answer
def not_modified(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """304 with a body that must not be sent."""
    say()
    start_response("304 Not Modified", [("ETag", '"a"')])
    return [b"not sent"]


@_answer
def see_other(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """303."""
    say()
    start_response("303 See Other", [("Location", "/elsewhere"), _length(0)])
    return [b""]


@_answer
def odd_reason(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A status of our own, with a reason that has a bracket."""
    say()
    start_response("299 Well (nearly)", [TEXT, _length(2)])
    return [b"a\n"]


@_answer
def not_found(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """404."""
    say()
    start_response("404 Not Found", [TEXT, _length(3)])
    return [b"no\n"]


@_answer
def own_500(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """500 by the application."""
    say()
    start_response("500 Internal Server Error", [TEXT])
    return (chunk for chunk in (b"our ", b"fault\n"))


@_answer
def headers(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """Headers twice, in odd spelling, with blanks and Latin-1."""
    say()
    told = [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("x-LOUD", "\xe9t\xe9"), ("X-Empty", "")]
    start_response("200 OK", [TEXT, *told, _length(2)])
    return [b"a\n"]


@_answer
def own_server_headers(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """Server by the application."""
    say()
    start_response("200 OK", [TEXT, ("Server", "mine"), _length(2)])
    return [b"a\n"]


@_answer
def replaced_start(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A start that an error handler replaces before anything has left."""
    say()
    start_response("200 OK", [TEXT])
    try:
        raise Broken("before")
    except Broken as error:
        start_response("500 Replaced", [TEXT, _length(9)], (Broken, error, error.__traceback__))
    return [b"replaced\n"]


@_answer
def late_replacement(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """A start that cannot be replaced any more."""
    start_response("200 OK", [TEXT])
    yield b"one\n" * 20_000
    say()
    yield b"two\n" * 20_000
    try:
        raise Broken("after")
    except Broken as error:
        start_response("500 Replaced", [TEXT], (Broken, error, error.__traceback__))
    yield b"three\n"


@_answer
def raises_first(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An exception before the start."""
    say()
    raise Broken("first")


@_answer
def raises_after_start(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An exception after the start, before any chunk."""
    start_response("200 OK", [TEXT])
    say()
    raise Broken("after the start")


@_answer
def raises_in_the_middle(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """An exception between chunks, with a length that says so."""
    start_response("200 OK", [TEXT, _length(1_000_000)])
    yield b"one\n"
    say()
    yield b"two\n"
    raise Broken("in the middle")


@_answer
def never_starts(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """No start at all."""
    say()
    return [b"no start\n"]


@_answer
def starts_twice(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """Two starts without exc_info."""
    say()
    start_response("200 OK", [TEXT])
    start_response("201 Created", [TEXT])
    return [b"twice\n"]


class _Closing:
    """Chunks whose close() raises, or is noted."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Raise."""
        raise Broken("close()")


@_answer
def close_raises(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """An iterable whose close() raises."""
    say()
    start_response("200 OK", [TEXT, _length(4)])
    return _Closing(b"one\n")


@_answer
def too_long(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """More than Content-Length says."""
    say()
    start_response("200 OK", [TEXT, _length(4)])
    return [b"one\ntwo\n"]


@_answer
def too_short(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """Less than Content-Length says."""
    say()
    start_response("200 OK", [TEXT, _length(40)])
    return [b"one\n"]


@_answer
def early_hints(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """Hints before the answer, where the server has them."""
    hint = environ.get("wsgi.early_hints")
    if hint is not None:
        hint([("Link", "</a.css>; rel=preload")])
    say()
    start_response("200 OK", [TEXT, _length(2)])
    return [b"a\n"]


@_answer
def injected(environ: Environ, start_response: Any, say: Say) -> Iterable[bytes]:
    """A header that would be two."""
    say()
    start_response("200 OK", [TEXT, ("X-A", "b\r\nX-Injected: c"), _length(2)])
    return [b"a\n"]


@_answer
def endless(environ: Environ, start_response: Any, say: Say) -> Iterator[bytes]:
    """A body that ends when the client has left."""
    start_response("200 OK", [TEXT])
    yield b"begin\n"
    say()
    while True:
        yield b"0123456789abcdef" * 4_096


def bare(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Answer as the request asks, and note that it was called."""
    name = environ.get("HTTP_X_REQUEST", "")
    if name:
        _append("ran", name)

    def say() -> None:
        handle = environ.get("ap4r")
        if handle is not None and environ.get("HTTP_X_SAY") == "1":
            handle.async_to("/work", {"request": name})

    return ANSWERS[environ.get("HTTP_X_CASE", "echo")](environ, start_response, say)


def _append(kind: str, line: str) -> None:
    descriptor = os.open(f"{os.environ['TESTS_SINK']}.{kind}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _make() -> Callable[[Environ, Any], Iterable[bytes]]:
    mounts = {"bare": bare, "kept": AP4RMiddleware(bare, store=FileSink(os.environ["TESTS_SINK"]))}

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        return mounts[environ.get("HTTP_X_MOUNT", "bare")](environ, start_response)

    return application


if "TESTS_SINK" in os.environ:
    application = _make()

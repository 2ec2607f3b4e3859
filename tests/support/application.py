"""The web application of the fault tests: it sends messages and then ends in every way a request can.

`/do?request=NAME&how=WAY&messages=N&on=success&size=BYTES&delivery=repeated`
answers as the way says; the messages go to `/work` of `app`. `/alive` answers 204 and sends nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from tests.support.wsgi_recorder import KEY, Application, WsgiRecorder, recorded

LEDGER_VARIABLE = "LEDGER_FOLDER"
CHUNK = b"0123456789abcdef" * 4_096  # 64 KiB

Environ = dict[str, Any]
Put = Callable[[], None]
Way = Callable[[Environ, Any, Put], Iterable[bytes]]

COMMITS: dict[str, Way] = {}
ABORTS: dict[str, Way] = {}


class Broken(Exception):
    """What the application raises on purpose."""


def _way(ways: dict[str, Way]) -> Callable[[Way], Way]:
    def add(way: Way) -> Way:
        ways[way.__name__] = way
        return way

    return add


@_way(COMMITS)
def one_chunk(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer with a list of one chunk and no length."""
    put()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done\n"]


@_way(COMMITS)
def one_chunk_with_length(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer with a list of one chunk and its length."""
    put()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"done\n"]


@_way(COMMITS)
def several_chunks(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer with a list of several chunks, empty ones among them."""
    put()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"do", b"", b"ne", b"\n", b""]


@_way(COMMITS)
def generator_with_length(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer with a generator that reaches its length, and put on the way."""

    def body() -> Iterator[bytes]:
        yield b"do"
        put()
        yield b"ne\n"

    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return body()


@_way(COMMITS)
def late_generator(environ: Environ, start_response: Any, put: Put) -> Iterator[bytes]:
    """Be a generator, so that the response is started only when it is iterated."""
    put()
    start_response("201 Created", [("Content-Type", "text/plain")])
    yield b"do"
    yield b"ne\n"


@_way(COMMITS)
def long_stream(environ: Environ, start_response: Any, put: Put) -> Iterator[bytes]:
    """Stream more than is ever held back, and put at the very end."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for _ in range(4):
        yield CHUNK
    put()
    yield b"end\n"


@_way(COMMITS)
def written(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Use write()."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"do")
    put()
    write(b"ne\n")
    return []


@_way(COMMITS)
def redirect(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer with a redirect that has no body."""
    put()
    start_response("303 See Other", [("Location", "/elsewhere"), ("Content-Length", "0")])
    return []


@_way(COMMITS)
def no_content(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer 204."""
    put()
    start_response("204 No Content", [])
    return []


@_way(COMMITS)
def file(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Hand a file to the server."""
    put()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    body: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"done\n"))
    return body


@_way(COMMITS)
def transaction(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Put inside of a transaction that ends well."""
    with environ["ap4r"].transaction():
        put()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done\n"]


@_way(ABORTS)
def bad_request(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer 400."""
    put()
    start_response("400 Bad Request", [("Content-Type", "text/plain")])
    return [b"no\n"]


@_way(ABORTS)
def server_error(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Answer 500 from a generator."""
    put()
    start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
    return iter([b"no", b"\n"])


@_way(ABORTS)
def raised_before_start(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Raise before the response is started."""
    put()
    raise Broken("before the start")


@_way(ABORTS)
def raised_after_start(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Raise after the response is started."""
    put()
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise Broken("after the start")


@_way(ABORTS)
def raised_in_body(environ: Environ, start_response: Any, put: Put) -> Iterator[bytes]:
    """Raise after the first chunk of a body without a length."""
    put()
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"do"
    raise Broken("in the body")


@_way(ABORTS)
def raised_in_long_body(environ: Environ, start_response: Any, put: Put) -> Iterator[bytes]:
    """Raise in a body with a length, when most of it has left."""
    put()
    start_response("200 OK", [("Content-Length", str(5 * len(CHUNK)))])
    for _ in range(4):
        yield CHUNK
    raise Broken("in the long body")


@_way(ABORTS)
def replaced(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Begin a success, and replace it by a failure (exc_info)."""
    put()
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        raise Broken("replaced")
    except Broken:
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"no\n"]


@_way(ABORTS)
def endless(environ: Environ, start_response: Any, put: Put) -> Iterator[bytes]:
    """Stream until the client has left (at most 128 MiB)."""
    put()
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for _ in range(2_048):
        yield CHUNK
    raise Broken("the iterator failed")


def failed_transaction(environ: Environ, start_response: Any, put: Put) -> Iterable[bytes]:
    """Put inside of a transaction that raises, then answer with a success all the same."""
    try:
        with environ["ap4r"].transaction():
            put()
            raise Broken("in the transaction")
    except Broken:
        start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done\n"]


WAYS: dict[str, Way] = {**COMMITS, **ABORTS, "failed_transaction": failed_transaction}


def do(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Send the messages that the query asks for and end as it says."""
    if environ["PATH_INFO"] == "/alive":
        start_response("204 No Content", [])
        return []
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    recorder: WsgiRecorder = environ[KEY]
    how = query.get("how", "one_chunk")
    on, delivery = query.get("on", "success"), query.get("delivery", "repeated")

    def put() -> None:
        for number in range(int(query.get("messages", "1"))):
            message = environ["ap4r"].async_to(
                f"/work?answer={quote(query.get('answer', '200'))}",
                {
                    "request": recorder.request,
                    "number": number,
                    "how": how,
                    "padding": "x" * int(query.get("size", "0")),
                },
                on=on,
                delivery=delivery,
            )
            recorder.put(message, on, delivery, kept=how != "failed_transaction")

    return WAYS[how](environ, start_response, put)


def make_application() -> Application:
    """Build it as a user would, between the two recorders; the ledger's folder comes from the environment."""
    from ap4r.middleware import AP4RMiddleware

    return recorded(do, AP4RMiddleware, Path(os.environ[LEDGER_VARIABLE]))

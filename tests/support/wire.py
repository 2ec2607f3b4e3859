"""A WSGI server without a network, strict about PEP 3333, that writes down what left and when.

Headers leave with the first non-empty chunk, or at the end; a second start is taken only before that.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass
class Answer:
    """What a client saw. `marks` holds, for the headers and then for each chunk, what `mark()` said as it left."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    marks: list[Any] = field(default_factory=list)
    raised: BaseException | None = None
    left_early: bool = False
    result: Any = None
    starts: int = 0

    @property
    def body(self) -> bytes:
        """All bytes of the body."""
        return b"".join(self.chunks)

    @property
    def code(self) -> int:
        """The status as a number, 500 where the server had to answer for the application."""
        return int(self.status[:3]) if self.status else 500

    @property
    def looks_whole(self) -> bool:
        """Return whether a client would accept this as a whole success."""
        lengths = [int(value) for name, value in self.headers if name.lower() == "content-length"]
        return (
            bool(self.status)
            and self.code < 400
            and self.raised is None
            and not self.left_early
            and (not lengths or lengths[0] == len(self.body))
        )


def make_environ(method: str = "GET", path: str = "/", query: str = "", **more: Any) -> dict[str, Any]:
    """Create the environ of a request that has no body."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **more,
    }


def exchange(
    application: Application,
    environ: dict[str, Any] | None = None,
    *,
    mark: Callable[[], Any] = lambda: None,
    leave_after: int | None = None,
    iterate: bool = True,
) -> Answer:
    """Serve one request.

    :param leave_after: the client leaves after so many chunks, and the server notices.
    :param iterate: False for a server that knows that no body will be sent, and asks for none.
    """
    answer = Answer()
    start: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info:
            if answer.status:
                raise exc_info[1].with_traceback(exc_info[2])
        elif start:
            raise AssertionError("start_response was called twice")
        start[:] = [status, list(headers)]
        answer.starts += 1
        return write

    def send_headers() -> None:
        if not answer.status:
            assert start, "a chunk came before start_response"
            answer.status, answer.headers = start
            answer.marks.append(mark())

    def write(chunk: bytes) -> None:
        assert isinstance(chunk, bytes)
        if chunk:
            send_headers()
            answer.chunks.append(chunk)
            answer.marks.append(mark())

    result: Any = None
    try:
        result = application(make_environ() if environ is None else environ, start_response)
        answer.result = result
        if iterate:
            for chunk in result:
                if leave_after is not None and len(answer.chunks) >= leave_after:
                    answer.left_early = True
                    break
                write(chunk)
        if not answer.left_early and start:
            send_headers()
    except BaseException as error:  # noqa: BLE001 - whatever the application raises is part of the answer
        answer.raised = error
    try:
        if hasattr(result, "close"):
            result.close()
        if not iterate and start and answer.raised is None:
            send_headers()
    except BaseException as error:  # noqa: BLE001 - whatever the application raises is part of the answer
        answer.raised = answer.raised or error
    if answer.raised is not None and not answer.chunks:
        # Nothing has left: the server answers for the application.
        answer.status = ""
    return answer

"""What of a response has left for the server, and what may: the start, chunks that are free, or a refusal instead.

It decides nothing. The server's own start_response is called as late as PEP 3333 allows, and once, with the start that
is meant to last: some servers add the headers of a second start to those of the first.
"""

from __future__ import annotations

from collections.abc import Callable

from ap4r.middleware.body import Body
from ap4r.middleware.refusal import STATUS, refusal
from ap4r.middleware.start import ServerStart, Start


class Departure:
    """The server's side of one response."""

    __slots__ = (
        *("_server_start", "_server_write", "_method", "_start", "_started", "_gone"),
        *("_made_body", "_ended", "_refused"),
    )

    def __init__(self, server_start: ServerStart, method: str) -> None:
        self._server_start = server_start
        self._server_write: Callable[[bytes], object] | None = None
        self._method = method
        self._start: Start | None = None
        self._started = False  # the server has the start
        self._gone = False  # the server has a chunk, so the start may have left
        self._made_body: Body | None = None  # most responses are decided at once and need none
        self._ended = False  # nothing comes any more
        self._refused: Exception | None = None  # why the messages of a success are not stored

    @property
    def _body(self) -> Body:
        if self._made_body is None:
            self._made_body = Body()
        return self._made_body

    def _push(self) -> None:
        ready = self._body.ready
        if ready:
            self._pass_start()
            self._gone = True
        while ready and self._server_write is not None:
            self._server_write(ready.popleft())

    def _pass_start(self) -> None:
        if not self._started and self._start is not None:
            self._started = True
            self._server_write = self._server_start(self._start.status, self._start.headers)

    def _refuse(self) -> list[bytes]:
        """Put a 503 in the place of the response and return its body; or end the response short, if it has begun."""
        error = self._refused
        assert error is not None
        self._ended = True
        if self._gone:
            raise error
        headers, text = refusal(error)
        if self._started:
            self._server_start(STATUS, headers, (type(error), error, error.__traceback__))
        else:
            self._server_start(STATUS, headers)
        self._started = self._gone = True
        if self._method != "HEAD":
            self._body.ready.append(text)
        return list(self._body.ready)

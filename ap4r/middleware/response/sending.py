"""The server's side of a response: what was sent, and what may be: the start, released chunks, or a refusal instead.

It decides nothing. A start is passed on at once when no message waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ap4r.middleware.response.body import BufferedBody
from ap4r.middleware.response.known_servers import SecondStart, second_start
from ap4r.middleware.response.start import ServerStart, Start
from ap4r.middleware.response.store_failure import (
    MOST_FILLED_BYTES,
    STATUS,
    added_to,
    is_encoded,
    refusal,
    without_body,
)
from ap4r.outbox.handle import Handle
from ap4r.signing.verified_delivery import ENVIRON_KEY


class ResponseSender:
    """The server's side of one response."""

    __slots__ = (
        *("_server_start", "_server_write", "_method", "_start", "_started", "_gone"),
        *(
            "_made_body",
            "_ended",
            "_refused",
            "_file",
            "file_wrapper",
            "_environ",
            "_found",
            "_handle",
            "_has_returned",
        ),
    )

    def __init__(self, environ: dict[str, Any], handle: Handle, server_start: ServerStart, found: object) -> None:
        """Put the handle into the environ until the response is complete.

        :param found: the previous value of that key of the environ.
        """
        self._environ = environ
        self._handle = handle
        self._found = found
        environ[ENVIRON_KEY] = handle
        # Read before the call: the application may change or replace the environ.
        self.file_wrapper: Any = environ.get("wsgi.file_wrapper")
        if self.file_wrapper is not None and not isinstance(self.file_wrapper, type):
            environ["wsgi.file_wrapper"] = self._wrap_file
        self._server_start = server_start
        self._server_write: Callable[[bytes], object] | None = None
        self._method: str = environ.get("REQUEST_METHOD", "")
        self._start: Start | None = None
        self._started = False  # the server has the start
        self._has_returned = False  # the application's call has returned, and the server iterates or closes
        self._gone = False  # the server has a chunk, so the start may have been sent
        self._made_body: BufferedBody | None = None  # most responses are decided at once and need none
        self._ended = False  # no further chunk follows
        self._refused: Exception | None = None  # why the messages of a success are not stored
        self._file: object = None  # what the server's function for files returned last

    def _wrap_file(self, *arguments: Any, **more: Any) -> object:
        """Call the server's function for files (PEP 3333), and remember what it returns."""
        self._file = self.file_wrapper(*arguments, **more)
        return self._file

    def _restore_environ(self) -> None:
        """Restore the environ: a caller may use it for another request."""
        environ, found = self._environ, self._found
        if environ.get(ENVIRON_KEY) is self._handle:
            if found is None or getattr(found, "closed", False):
                del environ[ENVIRON_KEY]
            else:
                environ[ENVIRON_KEY] = found
        if self.file_wrapper is not None and environ.get("wsgi.file_wrapper") == self._wrap_file:
            environ["wsgi.file_wrapper"] = self.file_wrapper

    @property
    def _body(self) -> BufferedBody:
        if self._made_body is None:
            self._made_body = BufferedBody()
        return self._made_body

    def _has_wrapped(self, result: object) -> bool:
        return self._file is not None and result is self._file

    def _push(self) -> None:
        """Pass what is ready to the server's write(). It raises if the server has none, as it would without us."""
        ready = self._body.ready
        if ready:
            self._pass_start()
            while ready:
                self._server_write(ready.popleft())  # type: ignore[misc]
                self._gone = True

    def _flush(self) -> bool:
        """Pass what is held to the server's write(), if there is one; return whether nothing is left."""
        self._body.release()
        if callable(self._server_write):
            self._push()
        return not self._body.ready

    def _pass_start(self) -> None:
        start = self._start
        if not self._started and start is not None:
            self._started = True
            exc_info, start.exc_info = start.exc_info, None
            if exc_info:
                self._server_write = self._server_start(start.status, start.headers, exc_info)
            else:
                self._server_write = self._server_start(start.status, start.headers)

    def _offer_start(self) -> None:
        """Pass the start on, so that the application sees the server's exception and can start differently."""
        try:
            self._pass_start()
        except BaseException:
            self._start, self._started = None, False
            raise

    def _replace_start(self, start: Start) -> None:
        """Replace a start that the server already has; the server decides whether that is allowed (PEP 3333)."""
        before = self._start
        self._start, self._started = start, False
        try:
            self._pass_start()
        except BaseException:
            self._start, self._started = before, True
            raise

    def _refuse(self) -> list[bytes]:
        """Replace the response by a 503 and return its body.

        If the response has begun, or the server may not replace the first start by a second one, raise instead: then
        the server answers 500 or cuts the response.
        """
        error = self._refused
        assert error is not None
        self._ended = True
        if self._gone:
            raise error
        headers, text = refusal(error)
        if self._started:
            exc_info: Any = (type(error), error, error.__traceback__)
            second, start = second_start(has_returned=self._has_returned), self._start
            self._gone = True
            if second is SecondStart.IS_IGNORED:
                # uWSGI accepts the second start, and sends what was started in spite of an exception.
                self._server_start(STATUS, without_body(headers), exc_info)
                raise error
            if second is SecondStart.ADDS_HEADERS and start is not None:
                if (start.content_length or 0) > MOST_FILLED_BYTES or is_encoded(start.headers):
                    raise error
                headers, text = added_to(start.headers, headers, text, start.content_length)
            self._server_start(STATUS, headers, exc_info)
        else:
            self._server_start(STATUS, headers)
        self._started = self._gone = True
        if self._method != "HEAD":
            self._body.ready.append(text)
        return list(self._body.ready)

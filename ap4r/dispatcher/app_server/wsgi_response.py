"""One call of a WSGI application (PEP 3333) in a thread, and its response as HTTP/1 bytes.

The caller's `send` decides where the bytes go, and whether the client still reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from wsgiref.util import is_hop_by_hop

from twisted.logger import Logger
from twisted.web.http import datetimeToString

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_STATUS = re.compile(r"[1-9]\d\d([ \t][\t\x20-\x7e\x80-\xff]*)?")
_LENGTH = re.compile(r"[0-9]{1,18}")
_EARLY = "HTTP/1.1 103 Early Hints\r\n"
_log = Logger(namespace="ap4r.app")

Headers = list[tuple[str, str]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class ClientLeft(ConnectionError):
    """The connection was lost, so that nothing more can be sent."""

    def __init__(self) -> None:
        super().__init__("the client has closed the connection")


class WsgiResponse:
    """Calls an application once, and writes what it answers.

    :param keep_alive: whether the client allows keeping the connection.
    :param send: sends bytes; blocks while too many are unsent; raises ClientLeft.
    """

    def __init__(self, method: str, version: str, keep_alive: bool, send: Callable[[bytes], None]) -> None:
        self._method = method
        self._version = version
        self._keep_alive = keep_alive
        self._send = send
        self._status = ""
        self._headers: Headers = []
        self._length: int | None = None
        self._bodiless = False
        self._chunked = False
        self._has_sent = False
        self._sent_bytes = 0

    def run(self, app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> bool:
        """Call the application, send its response, close its iterable; return whether the connection can be kept."""
        environ["wsgi.early_hints"] = self.send_early_hints
        try:
            result = app(environ, self.start_response)
            try:
                for chunk in result:
                    self.write(chunk)
                self._end()
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except ClientLeft:
            return False
        except BaseException:  # noqa: BLE001 - no exception may end the thread
            _log.failure("{method} {path}: the application failed", method=self._method, path=environ["RAW_URI"])
            self._answer_failure()
            return False
        return self._keep_alive and (self._length is None or self._bodiless or self._sent_bytes == self._length)

    def start_response(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Callable[[bytes], None]:
        """Store the start of a response. It is sent with the first bytes of the body.

        :raises AssertionError: it was called already, and there is no exc_info.
        :raises ValueError: the status or a header cannot be sent.
        """
        if exc_info:
            try:
                if self._has_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._status:
            raise AssertionError("start_response was called again without exc_info")
        if not isinstance(status, str):
            raise TypeError(f"the status {status!r} is not a str")
        if not _STATUS.fullmatch(status):
            raise ValueError(f"the status {status!r} does not begin with three digits, or has a control character")
        code = int(status[:3])
        self._bodiless = self._method == "HEAD" or code < 200 or code in (204, 304)
        forbids_length = code < 200 or code == 204
        kept, lengths = [], set()
        for name, value in headers:
            value = _checked(name, value)
            lower = name.lower()
            if lower == "content-length":
                lengths.add(_length_of(value))
                if forbids_length:
                    continue
            elif is_hop_by_hop(name):
                # The connection is handled by the server.
                continue
            kept.append((name, value))
        if len(lengths) > 1:
            raise ValueError("the response has two values of Content-Length")
        self._length = lengths.pop() if lengths and not forbids_length else None
        self._chunked = self._length is None and not self._bodiless and self._version != "HTTP/1.0"
        self._status, self._headers = status, kept
        return self.write

    def write(self, data: bytes) -> None:
        """Send a part of the body; an empty one sends nothing.

        :raises ClientLeft: the connection was lost.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"the body has {type(data).__name__} instead of bytes")
        if not self._status:
            if data:
                raise AssertionError("a part of the body came before start_response")
            return
        if not data:
            return
        head = self._take_head()
        if self._bodiless:
            data = b""
        elif self._length is not None:
            data = data[: self._length - self._sent_bytes]
        self._sent_bytes += len(data)
        if data and self._chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        if head or data:
            self._send(head + data)

    def send_early_hints(self, headers: Headers) -> None:
        """Send an interim response 103, if the client's version has it and the response has not begun."""
        lines = [f"{name}: {_checked(name, value)}\r\n" for name, value in headers]
        if not self._has_sent and self._version != "HTTP/1.0":
            self._send(f"{_EARLY}{''.join(lines)}\r\n".encode("latin-1"))

    def _end(self) -> None:
        if not self._status:
            raise AssertionError("the application has not called start_response")
        last = self._take_head() + (b"0\r\n\r\n" if self._chunked else b"")
        if last:
            self._send(last)

    def _take_head(self) -> bytes:
        if self._has_sent:
            return b""
        self._has_sent = True
        self._keep_alive = self._keep_alive and (self._chunked or self._bodiless or self._length is not None)
        names = {name.lower() for name, _ in self._headers}
        own = [f"{self._version} {self._status}"]
        if "server" not in names:
            own.append("Server: ap4r")
        if "date" not in names:
            own.append(f"Date: {datetimeToString().decode()}")
        own.append(f"Connection: {'keep-alive' if self._keep_alive else 'close'}")
        if self._chunked:
            own.append("Transfer-Encoding: chunked")
        lines = [*own, *[f"{name}: {value}" for name, value in self._headers], "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def _answer_failure(self) -> None:
        """Answer that the application failed, if nothing of a response was sent."""
        if self._has_sent:
            return
        self._has_sent = True
        body = b"" if self._method == "HEAD" else b"Internal Server Error\n"
        head = (
            f"{self._version} 500 Internal Server Error\r\nServer: ap4r\r\nDate: {datetimeToString().decode()}\r\n"
            f"Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            self._send(head.encode() + body)
        except ClientLeft:
            return


def _checked(name: object, value: object) -> str:
    """Return a header's value without spaces around it.

    :raises ValueError: the header cannot be sent. Its value may be a secret, so the text does not show it.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"the header {name!r} is not a pair of str")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the header {name} has a character that is not allowed in a header")
    return value.strip(" \t")


def _length_of(value: str) -> int:
    if not _LENGTH.fullmatch(value):
        raise ValueError(f"Content-Length is {value!r}, which is not a number")
    return int(value)

"""Two layers of WSGI, outside and inside of the middleware under test, that record what each side received.

The inner one records how the application ended, the outer one what the server received. Both comply with PEP 3333
and change nothing that passes through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.support.ledger import LedgerFile, Verdict

KEY = "tests.wsgi_recorder"
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class WsgiRecorder:
    """The record of one request."""

    def __init__(self, ledger: LedgerFile, environ: dict[str, Any]) -> None:
        self.request = parse_qs(environ.get("QUERY_STRING", "")).get("request", ["unnamed"])[0]
        self.bodiless = environ["REQUEST_METHOD"] == "HEAD"
        self.inner_status = self.outer_status = 0
        self.length: int | None = None
        self.produced = self.handed = 0
        self.verdict: Verdict | None = None
        self.unknown = False
        self._ledger = ledger
        self._outer_ended = False

    def put(self, message: str, on: str, delivery: str, kept: bool = True) -> None:
        """Note a message; `kept` is false when the application dropped it itself."""
        self._ledger.write("put", request=self.request, message=message, on=on, delivery=delivery, kept=kept)

    def begin_inner(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Note the application's status and what length it promised."""
        self.inner_status = int(status[:3])
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        self.length = int(lengths[0]) if lengths else None
        self.bodiless = self.bodiless or self.inner_status in (204, 304)

    def produce(self, size: int) -> None:
        """Note bytes from the application; it is at its end when it has given all it promised."""
        self.produced += size
        if self.length is not None and self.produced >= self.length:
            self.end_inner()

    def end_inner(self, *, failed: str = "") -> None:
        """Note how the application ended. The first end counts."""
        if self.verdict is None:
            self.verdict = Verdict.ABORT if failed or self.inner_status >= 400 else Verdict.COMMIT
            self._ledger.write(
                "inner", request=self.request, verdict=self.verdict, status=self.inner_status, why=failed
            )

    def hand(self, chunk: bytes) -> None:
        """Record bytes passed to the server; with the last of them a success is complete."""
        self.handed += len(chunk)
        self.unknown = self.unknown or (self.outer_status == 503 and b"outcome is unknown" in chunk)
        if self.verdict is Verdict.COMMIT and self.handed >= self.produced:
            self.end_outer("whole")

    def end_outer(self, end: str, error: BaseException | None = None) -> None:
        """Note what the server was given: "whole", "raised" or "closed". The first end counts."""
        if not self._outer_ended:
            self._outer_ended = True
            unknown = self.unknown or bool(getattr(error, "outcome_unknown", False))
            self._ledger.write(
                "outer", request=self.request, end=end, status=self.outer_status, unknown=unknown, error=repr(error)
            )


def recorded(application: Application, wrap: Callable[[Application], Application], folder: Path) -> Application:
    """Put `wrap(application)` between two recorders that write to a ledger in `folder`, one file a process."""
    files: dict[int, LedgerFile] = {}

    def ledger() -> LedgerFile:
        pid = os.getpid()
        if pid not in files:
            files[pid] = LedgerFile(folder / f"web-{pid}.jsonl")
        return files[pid]

    inside = wrap(_inside(application))

    def outside(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        recorder = environ[KEY] = WsgiRecorder(ledger(), environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            recorder.outer_status = int(status[:3])
            write = start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

            def counted(data: bytes) -> object:
                recorder.hand(data)
                return write(data)

            return counted

        try:
            body = inside(environ, start)
        except BaseException as error:
            recorder.end_outer("raised", error)
            raise
        if _is_file(body, environ):
            recorder.end_outer("whole")
            return body
        return _Outer(body, recorder)

    return outside


def _inside(application: Application) -> Application:
    def inside(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        recorder: WsgiRecorder = environ[KEY]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            recorder.begin_inner(status, headers)
            write = start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

            def counted(data: bytes) -> object:
                recorder.produce(len(data))
                return write(data)

            return counted

        try:
            body = application(environ, start)
        except BaseException as error:
            recorder.end_inner(failed=repr(error))
            raise
        if _is_file(body, environ):
            recorder.end_inner()
        elif isinstance(body, list) and len(body) == 1:
            # Left as it is: that it is the only chunk must stay known.
            recorder.produced += len(body[0])
            recorder.end_inner()
        else:
            return _Inner(body, recorder)
        return body

    return inside


def _is_file(body: Iterable[bytes], environ: dict[str, Any]) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class _Inner:
    def __init__(self, body: Iterable[bytes], recorder: WsgiRecorder) -> None:
        self._body = body
        self._chunks = iter(body)
        self._recorder = recorder

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._recorder.end_inner()
            raise
        except BaseException as error:
            self._recorder.end_inner(failed=repr(error))
            raise
        self._recorder.produce(len(chunk))
        return chunk

    def close(self) -> None:
        untouched = self._recorder.bodiless and self._recorder.produced == 0
        self._recorder.end_inner(failed="" if untouched else "closed before its end")
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


class _Outer:
    def __init__(self, body: Iterable[bytes], recorder: WsgiRecorder) -> None:
        self._body = body
        self._chunks = iter(body)
        self._recorder = recorder

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._recorder.end_outer("whole")
            raise
        except BaseException as error:
            self._recorder.end_outer("raised", error)
            raise
        self._recorder.hand(chunk)
        return chunk

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._recorder.end_outer("whole" if self._recorder.bodiless else "closed")

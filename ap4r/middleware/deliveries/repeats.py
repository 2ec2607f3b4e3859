"""Answers repeats of a delivery before the application runs, and answers in the application's place when `once()`
refused the request.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Protocol

from ap4r.errors import ConfigError, DeliveryBusy, DeliveryRefused, DeliveryRequired, StoreError
from ap4r.middleware.deliveries.internal_paths import InternalPaths
from ap4r.middleware.deliveries.verification import path_parts
from ap4r.middleware.response.body import is_at_hand, is_plain
from ap4r.middleware.response.start import ServerStart
from ap4r.signing.verified_delivery import VerifiedDelivery
from ap4r.storage.inbox_record import Stored, StoredAnswer, expiry, is_content, is_mark, record_of

BUSY_RETRY_SECONDS = 1
_BUSY_HEADER = "Ap4r-Busy"
_BETWEEN_WARNINGS_SECONDS = 10.0

_log = logging.getLogger("ap4r.middleware")

Application = Callable[[dict[str, Any], ServerStart], Iterable[bytes]]


class InboxStore(Protocol):
    """A store on the application's own database, in which records are looked up."""

    def recall(self, key: bytes, until: float) -> Stored | None:
        """Return the record of a message, if there is one, and keep it at least until `until` (Unix seconds)."""


class Receiving(Protocol):
    """The handle of a request; it holds the reason why the request was refused."""

    refusal: DeliveryRefused | None


class Repeats:
    """Answers repeats to the paths whose handlers use `once()`.

    :raises ConfigError: a path is not valid, or there are paths and the store has no inbox.
    """

    def __init__(self, paths: Iterable[str], inbox: object) -> None:
        self._paths = InternalPaths(paths, "once")
        if self._paths and not callable(getattr(inbox, "recall", None)):
            raise ConfigError("once", "repeats are looked up where the handlers' records are; pass inbox=URL")
        self.inbox = inbox
        self._warned_at = float("-inf")
        self._recall: Callable[[bytes, float], Stored | None] = getattr(inbox, "recall", _nothing)

    def __bool__(self) -> bool:
        return bool(self._paths)

    def answer(self, environ: dict[str, Any], delivery: VerifiedDelivery, now: float) -> StoredAnswer | None:
        """Return the answer to a repeat; None when the application has to run.

        :param now: Unix seconds.
        """
        if not self._paths.contains(*path_parts(environ)):
            return None
        content, is_signed = delivery.body_sha256, delivery.whole_request_signed
        until = expiry(delivery.expires_at, now)
        record = record_of(delivery.sender, delivery.id, delivery.path, content, until, is_path_signed=is_signed)
        try:
            found = self._recall(record.key, until)
            if not is_signed and record.beside is not None and (found is None or is_mark(found.content)):
                # An earlier version, or a call with a signed path, has recorded it with the path.
                found = self._recall(record.beside[0], until) or found
        except StoreError as error:
            # The application looks the record up again, in its own transaction; this look-up only saves work.
            if not 0 <= now - self._warned_at < _BETWEEN_WARNINGS_SECONDS:
                self._warned_at = now
                _log.warning("the inbox could not be read, so the application checks for a repeat itself: %s", error)
            return None
        if found is None:
            return None
        if not is_content(found.content, content):
            return DIFFERS
        return found.answer or DONE


#: The answer to a repeat whose handler stored no answer.
DONE = StoredAnswer(204)
DIFFERS = StoredAnswer(
    422,
    (("Content-Type", "text/plain; charset=utf-8"), ("Ap4r-Retry", "no")),
    b"ap4r: a message with this id and another content was received before.\n",
)
BUSY = StoredAnswer(
    409,
    (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Retry-After", str(BUSY_RETRY_SECONDS)),
        (_BUSY_HEADER, "1"),
        ("Cache-Control", "no-store"),
    ),
    b"ap4r: another call of this message is in progress.\n",
)


def answer_to(refusal: DeliveryRefused | None) -> StoredAnswer:
    """Return the answer to a request that was refused."""
    if isinstance(refusal, DeliveryRequired):
        text = ("Content-Type", "text/plain; charset=utf-8")
        return StoredAnswer(403, (text, ("Cache-Control", "no-store")), f"ap4r: {refusal}.\n".encode())
    return BUSY if isinstance(refusal, DeliveryBusy) else DIFFERS


def send_answer(
    answer: StoredAnswer, environ: dict[str, Any], start_response: ServerStart, exc_info: Any = None
) -> list[bytes]:
    """Send an answer in the application's place (PEP 3333)."""
    headers = list(answer.headers)
    if answer.status not in (204, 304):
        headers.append(("Content-Length", str(len(answer.body))))
    arguments = () if exc_info is None else (exc_info,)
    start_response(f"{answer.status} {_phrase(answer.status)}", headers, *arguments)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" or not answer.body else [answer.body]


class Guarded:
    """An application whose failure is answered 403, 409 or 422 when the handle refused the request.

    A framework turns an exception into a 500. That response is replaced; one with any status below 500 is kept.
    """

    __slots__ = ("_answered", "_app", "_environ", "_file_wrapper", "_receiving", "_start", "_started")

    def __init__(self, app: Application, receiving: Receiving, file_wrapper: object) -> None:
        """Prepare for one request.

        :param file_wrapper: the server's own (PEP 3333), None if it has none.
        """
        self._app = app
        self._receiving = receiving
        self._file_wrapper = file_wrapper
        self._started = False
        self._answered: list[bytes] | None = None

    def __call__(self, environ: dict[str, Any], start_response: ServerStart) -> Iterable[bytes]:
        """Call the application (PEP 3333)."""
        self._environ, self._start = environ, start_response
        try:
            result = self._app(environ, self._start_response)
        except Exception:
            if self._receiving.refusal is None:
                raise
            return self._refuse(sys.exc_info())
        if self._answered is not None:
            _close(result)
            return self._answered
        # A body that has not begun yet begins with its first chunk, and can be refused only then.
        if self._started or is_plain(result) or hasattr(type(result), "__len__"):
            return result
        if is_at_hand(result, self._file_wrapper):
            return result
        return _LateBody(self, result)

    def late(self, error: Exception) -> list[bytes] | None:
        """Return the chunks that replace an exception of a body that had not begun; None when it has to be raised."""
        if self._receiving.refusal is None:
            return None
        return self._refuse((type(error), error, error.__traceback__))

    @property
    def answered(self) -> list[bytes] | None:
        """The chunks that replace the application's own body, or None."""
        return self._answered

    def _start_response(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
        self._started = True
        if self._receiving.refusal is not None and status[:1] == "5":
            self._refuse(exc_info)
            return _ignore
        return self._start(status, headers) if exc_info is None else self._start(status, headers, exc_info)

    def _refuse(self, exc_info: Any) -> list[bytes]:
        answer = answer_to(self._receiving.refusal)
        self._answered = send_answer(answer, self._environ, self._start, exc_info)
        return self._answered


class _LateBody:
    """The body of an application that begins when it is iterated."""

    __slots__ = ("_body", "_guarded", "_iterator", "_result")

    def __init__(self, guarded: Guarded, result: Iterable[bytes]) -> None:
        self._guarded = guarded
        self._result = result
        self._iterator: Iterator[bytes] | None = None
        self._body: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._body is not None:
            return next(self._body)
        try:
            if self._iterator is None:
                self._iterator = iter(self._result)
            chunk = next(self._iterator)
        except StopIteration:
            if self._guarded.answered is None:
                raise
            chunk = b""
        except Exception as error:
            if self._guarded.late(error) is None:
                raise
            chunk = b""
        if self._guarded.answered is not None:
            self._body = iter(self._guarded.answered)
            return next(self._body)
        return chunk

    def close(self) -> None:
        """Close the application's iterable."""
        _close(self._result)


def _close(result: object) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _nothing(key: bytes, until: float) -> Stored | None:
    return None


def _ignore(data: bytes) -> None:
    pass

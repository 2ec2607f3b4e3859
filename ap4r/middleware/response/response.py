"""One response between the application and the server: which chunks are held back, and the single place that decides.

It never inspects messages; the handle reports whether any have to be stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from types import GeneratorType
from typing import Any

from ap4r.middleware.async_application import refuse_awaitable
from ap4r.middleware.response.body import close_result, is_at_hand, is_plain, with_length
from ap4r.middleware.response.commit_rule import CommitRule
from ap4r.middleware.response.decision import Decision
from ap4r.middleware.response.known_servers import accepts_plain_starts
from ap4r.middleware.response.sending import ResponseSender
from ap4r.middleware.response.start import ServerStart, Start, is_surely_sendable
from ap4r.middleware.response.store_failure import describe_failure, log_failure
from ap4r.outbox.handle import Handle
from ap4r.outbox.pending import Verdict

_log = logging.getLogger("ap4r.middleware")


class HeldResponse(ResponseSender):
    """The application's `start_response` and `write`, and the iterable that the server gets."""

    __slots__ = ("_answer", "_chunks", "_decided", "_given", "_iterable", "_made_decision", "_rules")

    def __init__(
        self, handle: Handle, rules: CommitRule, environ: dict[str, Any], server_start: ServerStart, found: object
    ) -> None:
        super().__init__(environ, handle, server_start, found)
        self._rules = rules
        self._answer = rules.delivery_answer(environ) if "HTTP_AP4R_MESSAGE_ID" in environ else None
        self._made_decision: Decision | None = None  # most requests send no message and need none
        self._decided = False
        self._given = 0  # bytes received from the application
        self._chunks: Iterator[bytes] | None = None
        self._iterable: Any = None

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Accept the application's start: pass it on at once if no message waits, else hold it until the verdict.

        With `exc_info` it replaces the previous start, if that was not sent yet.
        """
        if self._refused is not None:
            return self.write
        start = Start(status, headers, self._method, exc_info)
        if self._started:
            self._replace_start(start)
            self._drop_given()
        else:
            if self._start is not None and not exc_info:
                raise AssertionError("start_response was called again without exc_info (PEP 3333)")
            if self._start is not None or self._given:
                self._drop_given()
            self._start = start
            if self._waits():
                if type(headers) is list:
                    # The server reads them later, when the application may have changed its list.
                    start.headers = list(headers)
                return self.write
            self._offer_start()
        write = self._server_write
        return self.write if callable(write) else write

    def write(self, data: bytes) -> None:
        """Accept a chunk through the `write` callable. It counts as the last only when the application returns.

        :raises StoreError: the messages had to be stored before this chunk could be sent, and were not.
        """
        if self._refused is None:
            self._take(data, may_be_last=False)
        if self._refused is not None:
            raise self._refused
        self._push()

    def finish(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """Accept the application's result; return what the server is to send.

        A result that cannot run the application further is decided at once and returned unchanged. If messages wait, a
        body of at most `buffer_bytes` is read and decided about too.
        """
        kind = type(result)
        is_list = kind is list or kind is tuple
        if is_list and self._made_body is None and self._handle.close_unused():
            self._decided = True
            self._restore_environ()
            return result
        self._iterable = result
        if self._refused is not None or (is_list and self._answer is None):
            return self._hand_over(result)
        is_generator = kind is GeneratorType
        at_hand = not is_generator and (self._has_wrapped(result) or is_at_hand(result, self.file_wrapper))
        if at_hand and self._answer is None:
            return self._hand_over(result)
        waits = not self._handle.is_empty and (self._start is None or self._waits())
        if at_hand and (not waits or (self._answer is not None and self._answer.read_whole(result))):
            return self._hand_over(result)
        if not is_generator and is_plain(result):
            refuse_awaitable(result)
            if not waits:
                return self._hand_over(result)
        if waits:
            self._advance()
        else:
            self._pass_start()
        if is_generator or not hasattr(kind, "__len__"):
            return self
        return with_length(self, result, (self._body.ready if self._ended else ()) if waits else None)

    def _hand_over(self, result: Iterable[bytes]) -> Iterable[bytes]:
        self._decide()
        if self._refused is not None:
            self._close_application()
            return self._refuse()
        self._pass_start()
        if self._made_body is not None and not self._flush():
            return self  # The chunks written (this server has no write()), and then the result.
        self._restore_environ()
        return result

    def fail(self, error: BaseException) -> Iterable[bytes] | None:
        """Decide about an exception and close the application's iterable; the caller raises it again.

        Return a body only if the exception is the store's own failure, raised through `write()`: then it is the 503's.
        """
        self._ended = True
        self._body.drop()
        self._decide(error)
        try:
            # Some servers call no close() after an exception.
            self._close_application()
        except Exception:  # noqa: BLE001 - the first exception is the one to report
            _log.exception("%s %r: close() raised an exception after another one", self._method, self._handle.path)
        self._restore_environ()
        return self._refuse() if error is self._refused and not self._gone else None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        body = self._made_body or self._body
        ready = body.ready
        if not ready and not self._ended:
            self._has_returned = True
            try:
                self._advance()
            except BaseException as error:
                if self.fail(error) is None:
                    raise
        if ready:
            self._gone = True
            return ready.popleft()
        raise StopIteration

    def restart(self) -> Iterator[bytes] | None:
        """Begin another iteration of the body; the first complete one decides. Return the rest of the previous one."""
        if self._chunks is None or self._refused is not None:
            return None
        rest = self._body.followed_by(self._chunks)
        self._drop_given()
        self._ended, self._chunks = False, None
        return rest

    def close(self) -> None:
        """Close the application's iterable, and decide if the response did not reach its end.

        :raises StoreError: the response was sent, has no body that could be cut, and its messages are not stored.
        """
        try:
            self._close_application()
            if not self._decided:
                self._end_early()
        except BaseException as error:
            self._decide(error)
            raise
        finally:
            self._restore_environ()

    def _end_early(self) -> None:
        start = self._start
        has_all_left = start is not None and start.content_length == self._given and not self._body.held_bytes
        if start is None or not (start.bodiless or has_all_left):
            self._decide(GeneratorExit())
            return
        # A server may skip the body of such a response, and so never reach its end.
        self._has_returned = True
        self._decide()
        if self._refused is not None:
            self._refuse()
        self._pass_start()

    def _advance(self) -> None:
        """Read chunks until one may be sent, or the body ends."""
        body = self._made_body or self._body
        if self._chunks is None:
            # Empty when write() met the failure: no further chunk of the application can be part of the answer.
            self._chunks = iter(self._iterable if self._refused is None else ())
        for chunk in self._chunks:
            self._take(chunk, may_be_last=True)
            if self._refused is not None:
                break
            if self._gone and not body.ready:
                # PEP 3333: with nothing to send yet an iterable yields an empty string. Some servers send the start
                # then.
                body.ready.append(b"")
            if body.ready:
                break
        else:
            self._ended = True
            self._decide()
            body.release()
        if self._refused is not None:
            self._refuse()
        self._pass_start()

    def _take(self, chunk: bytes, *, may_be_last: bool) -> None:
        """Accept a chunk, and release the chunks that may be sent."""
        body = self._made_body or self._body
        if not chunk:
            if not self._waits():
                body.ready.append(chunk)
            return
        self._given += len(chunk)
        if self._answer is not None:
            self._answer.read(chunk)
        start = self._start
        if start is None or self._decided:
            body.pass_on(chunk)
            return
        length, buffer_bytes = start.content_length, self._rules.buffer_bytes
        is_last = may_be_last and length is not None and self._given >= length
        if self._rules.at_headers or (is_last and not self._handle.has_open_messages):
            body.hold(chunk)
            self._decide()
        elif self._waits():
            body.hold(chunk)
            may_hold_all = not self._gone and (length is None or length <= buffer_bytes or start.bodiless)
            if may_hold_all and body.held_bytes <= buffer_bytes:
                return
            if not start.bodiless:
                body.release(but_last=True)
                return
            # The start is the whole response, so it must not be sent before the verdict.
            self._decide()
        else:
            body.pass_on(chunk)
            return
        body.release()

    def _waits(self) -> bool:
        """Return whether messages will be stored if the response ends well."""
        start = self._start
        return not (self._decided or start is None or self._handle.is_empty) and self._decision.waits(start)

    @property
    def _decision(self) -> Decision:
        if self._made_decision is None:
            self._made_decision = Decision(self._handle, self._rules, self._method, self._handle.path, self._answer)
        return self._made_decision

    def _drop_given(self) -> None:
        self._body.drop()
        self._given = 0
        self._decision.forget()

    def _decide(self, exception: BaseException | None = None) -> None:
        """Decide, once, and store the messages that the verdict lets through."""
        if self._decided:
            return
        if self._handle.close_unused():
            self._decided = True
            return
        decision = self._decision
        verdict = decision.final(self._start, exception)
        is_success = verdict is Verdict.COMMIT and exception is None
        if is_success and self._start is not None and self._handle.would_write(verdict):
            is_sendable = is_surely_sendable(self._start, self._iterable, self._made_body, has_left=self._gone)
            if not (is_sendable and accepts_plain_starts(self._server_start)):
                # The server or an outer middleware may refuse this start; then the request has failed.
                self._pass_start()
        if verdict is Verdict.ABORT:
            decision.log_drops(self._start, exception)
        self._decided = True
        try:
            self._handle.conclude(verdict)
        except Exception as error:  # noqa: BLE001 - the client must not see a success after any failure
            if is_success:
                self._refused = error
                self._body.drop()
            has_length = self._start is not None and self._start.content_length is not None
            log_failure(
                self._method, self._handle.path, error, describe_failure(error, is_success, self._gone, has_length)
            )

    def _close_application(self) -> None:
        result, self._iterable = self._iterable, None
        close_result(result)

"""The decision about one request, from its start, its exception, and its body if it is a delivery.

It neither stores messages nor sends chunks.
"""

from __future__ import annotations

import logging

from ap4r.middleware.response.commit_rule import CommitRule, DeliveryAnswer, judge_response
from ap4r.middleware.response.start import Start
from ap4r.outbox.handle import Handle
from ap4r.outbox.pending import Verdict

_log = logging.getLogger("ap4r.middleware")


class Decision:
    """The verdict about one request, and the verdict expected if nothing is raised any more."""

    __slots__ = ("_answer", "_handle", "_judged", "_method", "_path", "_prospect", "_rules")

    def __init__(
        self, handle: Handle, rules: CommitRule, method: str, path: str, answer: DeliveryAnswer | None
    ) -> None:
        self._handle = handle
        self._rules = rules
        self._method = method
        self._path = path
        self._prospect: Verdict | None = None
        self._judged: Start | None = None  # the start whose prospect this is
        self._answer = answer  # where the request is a delivery

    def forget(self) -> None:
        """Reset, for another start or another iteration of the body."""
        self._prospect = None
        if self._answer is not None:
            self._answer.forget()

    def waits(self, start: Start) -> bool:
        """Return whether messages will be stored if the response ends well."""
        if self._prospect is None or self._judged is not start:
            self._prospect, self._judged = self.judge(start, None, so_far=True), start
        return self._handle.would_write(self._prospect)

    def final(self, start: Start | None, exception: BaseException | None) -> Verdict:
        """Return the verdict of a response that has ended.

        :raises ValueError: as `judge` does.
        """
        is_expected = start is not None and start is self._judged and start.code is not None and exception is None
        if (
            is_expected
            and self._prospect is not None
            and self._answer is None
            and self._rules.verdict is judge_response
        ):
            # Nothing that this rule looks at has changed since.
            return self._prospect
        return self.judge(start, exception)

    def judge(self, start: Start | None, exception: BaseException | None, *, so_far: bool = False) -> Verdict:
        """Return the verdict that follows from these facts.

        :param so_far: the body is not complete: return the best verdict that is still possible.
        :raises ValueError: messages wait for success, and the status is neither a success nor a failure: some servers
            send it all the same, and some clients accept it as a success.
        """
        if start is not None and start.code is None and exception is None and not so_far and self._handle.success_count:
            raise ValueError(
                f"the status of the response is {start.status!r}, not a number from 100 and a reason (PEP 3333), so "
                "nothing tells whether its messages are to be stored"
            )
        code = None if start is None else start.code
        if start is None or code is None:
            return Verdict.ABORT
        if self._answer is not None and not self._answer.is_success(code, start.bodiless, so_far=so_far):
            return Verdict.ABORT
        try:
            verdict = self._rules.verdict(code, start.headers, exception)
            return verdict if type(verdict) is Verdict else Verdict(verdict)
        except Exception:
            if exception is None:
                raise
            _log.exception("%s %r: the verdict rule raised an error, so it is ABORT", self._method, self._path)
            return Verdict.ABORT

    def log_drops(self, start: Start | None, exception: BaseException | None) -> None:
        """Log the messages that an ABORT drops, if the server itself logs no failure of the request."""
        has_left = isinstance(exception, ConnectionError) or not isinstance(exception, Exception)
        is_taken_over = start is None and (exception is None or isinstance(exception, StopIteration))
        if is_taken_over or (exception is not None and has_left):
            self._rules.drops.log(self._method, self._path, self._handle.success_count, start is None)

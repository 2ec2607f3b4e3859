"""The verdict about a request: a pure function of status, headers and exception, which users can replace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ap4r.middleware.response.drop_log import DropLog
from ap4r.outbox.pending import Verdict

#: A replacement for `judge_response`; it may also return the strings "commit" and "abort".
VerdictRule = Callable[[int, Sequence[tuple[str, str]], "BaseException | None"], str]

_TRUE = b"true"


@dataclass(frozen=True, slots=True)
class CommitRule:
    """A user's settings for responses. With `at_headers` the verdict comes before the first byte, not the last."""

    verdict: VerdictRule
    at_headers: bool
    buffer_bytes: int
    drops: DropLog
    success: str

    def delivery_answer(self, environ: Mapping[str, Any]) -> DeliveryAnswer:
        """Return the judge of the answer to a delivery: by the rule that its dispatcher sent, else by `success`."""
        return DeliveryAnswer(environ.get("HTTP_AP4R_SUCCESS") or self.success)


def judge_response(status: int, headers: Sequence[tuple[str, str]], exception: BaseException | None) -> Verdict:
    """Return COMMIT for a status below 400 when nothing was raised, else ABORT.

    A rule may be called several times during one response, and must return the same for the same arguments.

    :param exception: the exception that the application raised; GeneratorExit when the server closed the response
        before its end, as it does when the client disconnected; None when the response runs, or ran, to its end.
    """
    return Verdict.COMMIT if exception is None and status < 400 else Verdict.ABORT


class DeliveryAnswer:
    """The answer to a delivery, judged by the rule of its dispatcher, which repeats a call that it counts as failed.

    :param rule: the dispatcher's setting `success`: "2xx", or "ap4r" for status 200 and a body that contains "true".
    """

    __slots__ = ("_end", "_has_true", "_reads_body")

    def __init__(self, rule: str) -> None:
        self._reads_body = rule == "ap4r"
        self.forget()

    def forget(self) -> None:
        """Reset, for the start of another response."""
        self._has_true = False
        self._end = b""

    def read(self, chunk: bytes) -> None:
        """Read a chunk of the body."""
        if self._reads_body and not self._has_true and type(chunk) is bytes:
            read = self._end + chunk
            self._has_true = _TRUE in read
            self._end = read[-len(_TRUE) + 1 :]

    def read_whole(self, result: object) -> bool:
        """Read a body that is at hand, as far as the rule depends on it; return whether that is possible."""
        if not self._reads_body:
            return True
        if not isinstance(result, list | tuple):
            return False
        for chunk in result:
            self.read(chunk)
        return True

    def is_success(self, status: int, bodiless: bool, *, so_far: bool) -> bool:
        """Return whether the answer counts as success.

        :param so_far: the answer is not complete: return whether it can still succeed.
        """
        if not self._reads_body:
            return 200 <= status < 300
        return status == 200 and (self._has_true or (so_far and not bodiless))

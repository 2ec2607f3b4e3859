"""The verdict about a request: a pure function of status, headers and exception, which a user may replace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ap4r.middleware.response.drop_log import DropLog
from ap4r.outbox.pending import Verdict

#: What replaces `judge_response`; "commit" and "abort" will do as its answer.
VerdictRule = Callable[[int, Sequence[tuple[str, str]], "BaseException | None"], str]

_TRUE = b"true"


@dataclass(frozen=True, slots=True)
class CommitRule:
    """What a user chose about responses. `at_headers` gives the verdict before the first byte, not before the last."""

    verdict: VerdictRule
    at_headers: bool
    buffer_bytes: int
    drops: DropLog
    success: str

    def delivery_answer(self, environ: Mapping[str, Any]) -> DeliveryAnswer:
        """Return how the answer to a delivery is judged: as its dispatcher says, else by the setting `success`."""
        return DeliveryAnswer(environ.get("HTTP_AP4R_SUCCESS") or self.success)


def judge_response(status: int, headers: Sequence[tuple[str, str]], exception: BaseException | None) -> Verdict:
    """Give COMMIT for a status below 400 when nothing was raised, else ABORT.

    A rule may be asked several times during one response, and must answer the same to the same question.

    :param exception: what the application raised; GeneratorExit when the server closed the response before its
        end, as it does when the client has left; None when the response runs, or ran, to its end.
    """
    return Verdict.COMMIT if exception is None and status < 400 else Verdict.ABORT


class DeliveryAnswer:
    """The answer to a delivery, judged as its dispatcher will judge it: what it takes for a failure it calls again.

    :param rule: the dispatcher's setting `success`: "2xx", or "ap4r" for status 200 and a body that contains "true".
    """

    __slots__ = ("_end", "_has_true", "_reads_body")

    def __init__(self, rule: str) -> None:
        self._reads_body = rule == "ap4r"
        self.forget()

    def forget(self) -> None:
        """Begin again, for the start of another response."""
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

        :param so_far: it has not come to its end: return whether it still can.
        """
        if not self._reads_body:
            return 200 <= status < 300
        return status == 200 and (self._has_true or (so_far and not bodiless))

"""The verdict about a request: a pure function of status, headers and exception, which a user may replace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ap4r.outbox.outbox import Verdict

#: What replaces `judge_response`; "commit" and "abort" will do as its answer.
VerdictRule = Callable[[int, Sequence[tuple[str, str]], "BaseException | None"], str]


@dataclass(frozen=True, slots=True)
class ResponseRules:
    """What a user chose about responses. `at_headers` gives the verdict before the first byte, not before the last."""

    verdict: VerdictRule
    at_headers: bool
    buffer_bytes: int


def judge_response(status: int, headers: Sequence[tuple[str, str]], exception: BaseException | None) -> Verdict:
    """Give COMMIT for a status below 400 when nothing was raised, else ABORT.

    A rule may be asked several times during one response, and must answer the same to the same question.

    :param exception: what the application raised; GeneratorExit when the server closed the response before its
        end, as it does when the client has left; None when the response runs, or ran, to its end.
    """
    return Verdict.COMMIT if exception is None and status < 400 else Verdict.ABORT

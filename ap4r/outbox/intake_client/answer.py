"""The meaning of an intake's answer to a put, and the reason why a put failed. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ap4r.redaction import shortened

_SECONDS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class PutFailure:
    """Why a put was not acknowledged.

    `advice` is the intake's, and refers only to its own answer; `outcome_unknown` refers to all attempts.
    """

    problem: str
    advice: str = ""
    outcome_unknown: bool = False
    retry_after_seconds: float = 0.0
    is_no_intake: bool = False

    @property
    def text(self) -> str:
        """The problem, and the advice if it applies: an intake does not know of answers that were lost."""
        return f"{self.problem}; {self.advice}" if self.advice and not self.outcome_unknown else self.problem


def worst_of(failures: Iterable[PutFailure]) -> PutFailure:
    """Combine the failures of all hosts, given in the order of the attempts."""
    found = tuple(failures)
    if not found:
        return PutFailure("no time was left")
    return PutFailure(
        "; ".join(failure.problem for failure in found),
        "; ".join(dict.fromkeys(failure.advice for failure in found if failure.advice)),
        outcome_unknown=any(failure.outcome_unknown for failure in found),
        # The host that may be called first decides.
        retry_after_seconds=min(failure.retry_after_seconds for failure in found),
        is_no_intake=all(failure.is_no_intake for failure in found),
    )


@dataclass(frozen=True)
class IntakeAnswer:
    """An answer, of an intake or of another server at its URL."""

    status: int
    body: bytes
    retry_after: str = ""

    @cached_property
    def _fields(self) -> dict[str, Any]:
        try:
            fields = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}

    def acknowledges(self, ids: Sequence[str]) -> bool:
        """Return whether an intake confirms that it stored these messages. No other answer counts, even with 202."""
        return self.status == 202 and self._fields.get("ids") == list(ids)

    @property
    def refuses(self) -> bool:
        """Whether an intake reports that the request is wrong."""
        return 400 <= self.status < 500 and not self.failure.is_no_intake

    @property
    def failure(self) -> PutFailure:
        """The failure, for an answer that is not an acknowledgement."""
        fields, status = self._fields, self.status
        if status < 400 or (status < 500 and not isinstance(fields.get("message"), str)):
            problem = (
                f"answered {status}, but not as an ap4r intake does; check that it is not the application's URL, or "
                "another server's"
            )
            return PutFailure(problem, is_no_intake=True)
        seconds = float(self.retry_after) if _SECONDS.fullmatch(self.retry_after) else 0.0
        if not isinstance(fields.get("message"), str):
            # A proxy's answer: it does not show what the intake behind it did.
            return PutFailure(f"status {status}", outcome_unknown=status >= 500, retry_after_seconds=seconds)
        return PutFailure(
            shortened(fields["message"], 400),
            shortened(fields["advice"], 400) if isinstance(fields.get("advice"), str) else "",
            outcome_unknown=bool(fields.get("outcome_unknown", status >= 500)),
            retry_after_seconds=seconds,
        )

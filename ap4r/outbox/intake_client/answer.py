"""What the answer to a put through an intake means, and what went wrong with one. Pure."""

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

    `advice` is the intake's, and speaks of its own answer alone; `outcome_unknown` is about all that was tried.
    """

    problem: str
    advice: str = ""
    outcome_unknown: bool = False
    retry_after_seconds: float = 0.0
    is_no_intake: bool = False

    @property
    def text(self) -> str:
        """The problem, with the advice where it holds: an intake knows nothing of answers that were lost."""
        return f"{self.problem}; {self.advice}" if self.advice and not self.outcome_unknown else self.problem


def worst_of(troubles: Iterable[PutFailure]) -> PutFailure:
    """Make one of the troubles with every host, in the order of the tries."""
    found = tuple(troubles)
    if not found:
        return PutFailure("no time was left")
    return PutFailure(
        "; ".join(trouble.problem for trouble in found),
        "; ".join(dict.fromkeys(trouble.advice for trouble in found if trouble.advice)),
        outcome_unknown=any(trouble.outcome_unknown for trouble in found),
        # The one that may be asked first is.
        retry_after_seconds=min(trouble.retry_after_seconds for trouble in found),
        is_no_intake=all(trouble.is_no_intake for trouble in found),
    )


@dataclass(frozen=True)
class IntakeAnswer:
    """An answer, of an intake or of whatever else listens at its URL."""

    status: int
    body: bytes
    retry_after: str = ""

    @cached_property
    def _told(self) -> dict[str, Any]:
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    def acknowledges(self, ids: Sequence[str]) -> bool:
        """Tell whether an intake says that it has stored these messages. Nothing else will do, whatever its status."""
        return self.status == 202 and self._told.get("ids") == list(ids)

    @property
    def refuses(self) -> bool:
        """Whether an intake says that the request is wrong."""
        return 400 <= self.status < 500 and not self.trouble.is_no_intake

    @property
    def trouble(self) -> PutFailure:
        """What went wrong, where it is no acknowledgement."""
        told, status = self._told, self.status
        if status < 400 or (status < 500 and not isinstance(told.get("message"), str)):
            problem = (
                f"answered {status}, but not as an ap4r intake does; is it the application's URL, or another server's?"
            )
            return PutFailure(problem, is_no_intake=True)
        seconds = float(self.retry_after) if _SECONDS.fullmatch(self.retry_after) else 0.0
        if not isinstance(told.get("message"), str):
            # A proxy's: it tells nothing of the intake behind it.
            return PutFailure(f"status {status}", outcome_unknown=status >= 500, retry_after_seconds=seconds)
        return PutFailure(
            shortened(told["message"], 400),
            shortened(told["advice"], 400) if isinstance(told.get("advice"), str) else "",
            outcome_unknown=bool(told.get("outcome_unknown", status >= 500)),
            retry_after_seconds=seconds,
        )

"""How many messages to claim ahead of their calls, so that few claims serve many calls. Pure: time is an argument."""

from __future__ import annotations

#: Messages claimed ahead are called within about this time, estimated from the recently answered calls. For a target
#: that answers slowly, or not at all, nothing is claimed ahead.
AHEAD_SECONDS = 0.04
#: A larger number would not make claims cheaper.
MOST_AHEAD = 192
#: A message that still waits after this time is put back, because another dispatcher may be able to call it.
WAIT_SECONDS = 1.0
_WINDOW_SECONDS = 0.05


class Ahead:
    """Counts answers, and computes how many messages to hold ahead."""

    def __init__(self) -> None:
        self._answers = 0
        self._since = float("-inf")
        self._count = 0

    def answered(self) -> None:
        """Count an answer."""
        self._answers += 1

    def count(self, now: float) -> int:
        """Return how many messages may be held beside those that are being called."""
        seconds = now - self._since
        if seconds >= _WINDOW_SECONDS:
            self._count = min(MOST_AHEAD, int(self._answers / seconds * AHEAD_SECONDS))
            self._answers, self._since = 0, now
        return self._count

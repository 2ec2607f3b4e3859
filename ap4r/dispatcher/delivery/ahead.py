"""How many messages are claimed ahead of their calls, so that few claims do for many. Pure: time is an argument."""

from __future__ import annotations

#: What is claimed ahead is called within about this time, judged by the calls that were answered lately. A target that
#: answers slowly, or not at all, has nothing claimed ahead.
AHEAD_SECONDS = 0.04
#: More would make claims no cheaper.
MOST_AHEAD = 192
#: A message that still waits after this time goes back, for another dispatcher may be able to call it.
WAIT_SECONDS = 1.0
_WINDOW_SECONDS = 0.05


class Ahead:
    """Counts answers, and tells how many messages they make worth having at hand."""

    def __init__(self) -> None:
        self._answers = 0
        self._since = float("-inf")
        self._count = 0

    def answered(self) -> None:
        """Count an answer."""
        self._answers += 1

    def count(self, now: float) -> int:
        """Tell how many messages may be held beside those that are being called."""
        seconds = now - self._since
        if seconds >= _WINDOW_SECONDS:
            self._count = min(MOST_AHEAD, int(self._answers / seconds * AHEAD_SECONDS))
            self._answers, self._since = 0, now
        return self._count

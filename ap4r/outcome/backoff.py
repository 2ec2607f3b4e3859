"""How long to wait before the next attempt: exponential, full jitter, bounded. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015)."""

    first_seconds: float = 5.0
    factor: float = 2.0
    cap_seconds: float = 3_600.0
    floor_seconds: float = 1.0

    def ceiling_seconds(self, attempt: int) -> float:
        """Return the longest wait after the given attempt, where 1 is the first: 5, 10, 20 … up to the cap."""
        if self.first_seconds <= 0:
            return 0.0
        try:
            # As a float: an integer factor would have millions of digits before it is cut.
            return min(self.cap_seconds, self.first_seconds * float(self.factor) ** (max(attempt, 1) - 1))
        except OverflowError:
            return self.cap_seconds

    def wait_seconds(self, attempt: int, random: float) -> float:
        """Return a random wait between 0 and the ceiling, evenly distributed, but at least the floor.

        :param random: a number from 0 up to 1.
        """
        return max(self.floor_seconds, self.ceiling_seconds(attempt) * random)

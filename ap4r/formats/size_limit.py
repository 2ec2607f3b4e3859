"""The limit of a body: every writer counts what it writes, and stops at the limit instead of beyond it.

Pure, but for short rests. A thread that waits for the interpreter gets it from one that computes after 5 ms only, and
a request waits for it at every read, write and commit: while a thread writes for half a second, each request that other
threads of the process serve would take 50 to 150 ms. So what takes long rests for a moment each millisecond.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from ap4r.errors import PayloadTooLarge

#: The most values that write nothing, such as an empty list in a form, beside one for each allowed byte.
_EMPTY_VALUES = 100_000
UNLIMITED = 2**63
_STEPS = 64  #: after so many the clock is read
_WORK_SECONDS, _REST_SECONDS = 0.001, 0.000_05


class SizeLimit:
    """The bytes that one message's body may still have."""

    __slots__ = ("_most", "_rested_at", "_steps", "_values", "left")

    def __init__(self, most_bytes: int = UNLIMITED) -> None:
        self._most = most_bytes
        self._values = most_bytes + _EMPTY_VALUES
        self._steps = _STEPS
        self._rested_at = 0.0
        self.left = most_bytes

    def take(self, size: int) -> None:
        """Count bytes that are about to be written.

        :raises PayloadTooLarge: the body would exceed the limit; `size` is what was counted so far.
        """
        self.left -= size
        if self.left < 0:
            raise PayloadTooLarge("the body of one message", self._most - self.left, self._most, "max_body_bytes")
        self._steps -= 1
        if self._steps <= 0:
            self.step()

    def step(self) -> None:
        """Count a step of work that takes some microseconds; rest for a moment when a millisecond of them is over."""
        self._steps -= 1
        if self._steps <= 0:
            self._steps, now = _STEPS, time.monotonic()
            if not self._rested_at:
                self._rested_at = now
            elif now - self._rested_at >= _WORK_SECONDS:
                # To rest for no time at all would not do: this thread would be back before another one has woken up.
                time.sleep(_REST_SECONDS)
                self._rested_at = time.monotonic()

    def check(self, size: int) -> None:
        """Refuse a size that does not fit, without counting it.

        :raises PayloadTooLarge: as `take` does.
        """
        if size > self.left:
            self.take(size)

    def take_value(self, size: int) -> None:
        """Count one value, whether or not it writes anything, and the least number of its characters.

        :raises PayloadTooLarge: as `take` does.
        """
        self.left -= size
        self._values -= 1
        if self.left < 0 or self._values < 0:
            size = max(self._most - self.left, self._most + 1)
            raise PayloadTooLarge("the body of one message", size, self._most, "max_body_bytes")
        self._steps -= 1
        if self._steps <= 0:
            self.step()

    @property
    def counted(self) -> tuple[int, int]:
        """Bytes and values that are left: the difference of two of these is what was counted between them."""
        return self.left, self._values

    def take_again(self, size: int, values: int) -> None:
        """Count again what was counted before, because it is written once more.

        :raises PayloadTooLarge: as `take` does.
        """
        self._values -= values
        self.left -= size
        self.take_value(0)
        self._values += 1

    def again(self) -> SizeLimit:
        """Return the same limit with nothing counted: for content that was estimated before and is written now."""
        return SizeLimit(self._most)

    def joined(self, pieces: Iterable[str]) -> str:
        """Join pieces of a text, counting each.

        :raises PayloadTooLarge: as `take` does.
        """
        kept: list[str] = []
        for piece in pieces:
            self.left -= len(piece)
            if self.left < 0:
                self.take(0)
            self.step()
            kept.append(piece)
        return "".join(kept)

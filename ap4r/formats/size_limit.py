"""The limit of a body: every writer counts what it writes, and stops at the limit instead of beyond it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ap4r.errors import PayloadTooLarge

#: The most values that write nothing, such as an empty list in a form, beside one for each allowed byte.
_EMPTY_VALUES = 100_000
UNLIMITED = 2**63


class SizeLimit:
    """The bytes that one message's body may still have."""

    __slots__ = ("_most", "_values", "left")

    def __init__(self, most_bytes: int = UNLIMITED) -> None:
        self._most = most_bytes
        self._values = most_bytes + _EMPTY_VALUES
        self.left = most_bytes

    def take(self, size: int) -> None:
        """Count bytes that are about to be written.

        :raises PayloadTooLarge: the body would exceed the limit; `size` is what was counted so far.
        """
        self.left -= size
        if self.left < 0:
            raise PayloadTooLarge("the body of one message", self._most - self.left, self._most, "max_body_bytes")

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
            kept.append(piece)
        return "".join(kept)

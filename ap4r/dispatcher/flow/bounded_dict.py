"""A dictionary of bounded size: it drops values that were not written for a while, and the oldest above a bound."""

from __future__ import annotations

from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Remembered(Generic[_Key, _Value]):
    """Values by key, each for `seconds` after its last write, and at most `most` of them.

    :param most: above it the value with the oldest write is dropped.
    """

    __slots__ = ("_entries", "most", "seconds")

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self._entries: dict[_Key, tuple[float, _Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: _Key, now: float) -> _Value | None:
        """Return the value of a key, or None."""
        entry = self._entries.get(key)
        return None if entry is None or now - entry[0] > self.seconds else entry[1]

    def put(self, key: _Key, value: _Value, now: float) -> None:
        """Write a value."""
        entries = self._entries
        entries.pop(key, None)
        entries[key] = (now, value)
        # A few at a time, so that no single call takes long.
        for _ in range(2):
            oldest = next(iter(entries))
            if len(entries) <= self.most and now - entries[oldest][0] <= self.seconds:
                break
            del entries[oldest]

    def pop(self, key: _Key) -> None:
        """Drop a key."""
        self._entries.pop(key, None)

    def items(self, now: float) -> list[tuple[_Key, _Value]]:
        """Return the values that are left, the oldest write first."""
        return [(key, value) for key, (at, value) in self._entries.items() if now - at <= self.seconds]

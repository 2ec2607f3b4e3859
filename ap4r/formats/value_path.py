"""The path of a value in `params`, as the caller would write it: `params["a"][3]`."""

from __future__ import annotations

from ap4r.redaction import shortened

_MOST_CHARACTERS = 200


class ValuePath:
    """The path of a value: the path of its container, and its key or index."""

    __slots__ = ("_above", "_key", "depth")

    def __init__(self, above: ValuePath | None = None, key: str | int = "") -> None:
        self._above = above
        self._key = key
        self.depth: int = 0 if above is None else above.depth + 1

    def __truediv__(self, key: str | int) -> ValuePath:
        """Return the path of the value under `key`."""
        return ValuePath(self, key)

    def __str__(self) -> str:
        steps: list[str] = []
        place = self
        while place._above is not None:
            key = place._key
            steps.append(f"[{key}]" if isinstance(key, int) else f'["{shortened(key, 80)[1:-1]}"]')
            place = place._above
        text = "params" + "".join(reversed(steps))
        # Its beginning names the argument, its end the value.
        return text if len(text) <= _MOST_CHARACTERS else f"{text[:120]}…{text[-79:]}"

    def last_key(self) -> str:
        """Return the key nearest to the value: that of the list for a list's item, "" for the whole."""
        place = self
        while isinstance(place._key, int) and place._above is not None:
            place = place._above
        return str(place._key)

    def key(self, key: object) -> KeyPath:
        """Return the path of a key of the mapping at this path."""
        return KeyPath(self, key)


class KeyPath:
    """The path of a key of a mapping. Its text is only built when needed: most keys are valid."""

    __slots__ = ("_key", "_place")

    def __init__(self, place: ValuePath, key: object) -> None:
        self._place = place
        self._key = key

    def __str__(self) -> str:
        return f"the key {shortened(self._key, 80)} of {self._place}"

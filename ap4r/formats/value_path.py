"""Where in `params` a value stands, as the caller would write it: `params["a"][3]`."""

from __future__ import annotations

from ap4r.redaction import shortened

_MOST_CHARACTERS = 200


class ValuePath:
    """The way to a value: a place, and the key or index that leads on from it."""

    __slots__ = ("_above", "_key", "depth")

    def __init__(self, above: ValuePath | None = None, key: str | int = "") -> None:
        self._above = above
        self._key = key
        self.depth: int = 0 if above is None else above.depth + 1

    def __truediv__(self, key: str | int) -> ValuePath:
        """Give the place of what stands under `key`."""
        return ValuePath(self, key)

    def __str__(self) -> str:
        steps: list[str] = []
        place = self
        while place._above is not None:
            key = place._key
            steps.append(f"[{key}]" if isinstance(key, int) else f'["{shortened(key, 80)[1:-1]}"]')
            place = place._above
        text = "params" + "".join(reversed(steps))
        # Its beginning says which argument, its end which value.
        return text if len(text) <= _MOST_CHARACTERS else f"{text[:120]}…{text[-79:]}"

    def last_key(self) -> str:
        """Give the key nearest to what stands here: that of the list for what stands in one, "" for the whole."""
        place = self
        while isinstance(place._key, int) and place._above is not None:
            place = place._above
        return str(place._key)

    def key(self, key: object) -> KeyPath:
        """Name a key of the mapping that stands here."""
        return KeyPath(self, key)


class KeyPath:
    """The place of a key of a mapping. Its words are found only when they are needed: most keys are in order."""

    __slots__ = ("_key", "_place")

    def __init__(self, place: ValuePath, key: object) -> None:
        self._place = place
        self._key = key

    def __str__(self) -> str:
        return f"the key {shortened(self._key, 80)} of {self._place}"

"""The body of a response on its way: chunks that wait for the verdict, and chunks that may leave.

It decides nothing; chunks leave in the order and in the pieces that the application gave them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol


class Body:
    """A queue in two parts: what may leave, and behind it what is held."""

    __slots__ = ("_held", "held_bytes", "ready")

    def __init__(self) -> None:
        self.ready: deque[bytes] = deque()
        self._held: list[bytes] = []
        self.held_bytes = 0

    def hold(self, chunk: bytes) -> None:
        """Take a chunk in; it waits."""
        self._held.append(chunk)
        self.held_bytes += len(chunk)

    @property
    def held(self) -> Sequence[bytes]:
        """What is held."""
        return self._held

    def release(self, *, but_last: bool = False) -> None:
        """Let everything that is held leave; with `but_last`, everything but the last chunk."""
        if not self._held:
            return
        kept = self._held[-1:] if but_last else []
        self.ready.extend(self._held[:-1] if but_last else self._held)
        self._held = kept
        self.held_bytes = sum(map(len, kept))

    def drop(self) -> None:
        """Forget all that has not left."""
        self.ready.clear()
        self._held.clear()
        self.held_bytes = 0


def is_at_hand(result: object, file_wrapper: object) -> bool:
    """Tell whether sending a result cannot run any more of the application, nor fail in it half way.

    True of lists and tuples of at most one chunk, and of the server's own file wrapper, whose very object the
    server must see so that it can send the file by itself.
    """
    if type(result) is list or type(result) is tuple:
        return len(result) < 2
    return is_file(result, file_wrapper)


def is_file(result: object, file_wrapper: object) -> bool:
    """Tell whether a result is the server's own file wrapper."""
    return isinstance(file_wrapper, type) and isinstance(result, file_wrapper)


class _Closing(Iterator[bytes], Protocol):
    def close(self) -> None: ...


class SizedBody:
    """A response of which the application told the number of chunks: of a single one, servers tell the length."""

    __slots__ = ("_response", "_result")

    def __init__(self, response: _Closing, result: Any) -> None:
        self._response = response
        self._result = result

    def __len__(self) -> int:
        return len(self._result)

    def __iter__(self) -> Iterator[bytes]:
        return self._response

    def close(self) -> None:
        """Close the response."""
        self._response.close()

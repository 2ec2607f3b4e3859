"""The body of a response on its way: chunks that wait for the verdict, chunks that may leave, and what results are.

It decides nothing; chunks leave in the order and in the pieces that the application gave them.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol


class BufferedBody:
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

    def pass_on(self, chunk: bytes) -> None:
        """Let a chunk leave, behind everything that was held."""
        if self._held:
            self.release()
        self.ready.append(chunk)

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

    def followed_by(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Return what is here, and then these chunks."""
        return chain((*self.ready, *self._held), chunks)

    def drop(self) -> None:
        """Forget all that has not left."""
        self.ready.clear()
        self._held.clear()
        self.held_bytes = 0


_EMPTY: tuple[Any, ...] = ([], (), set(), {}, {}.values(), b"", deque())
#: Iterating these runs no code of the application's.
_PLAIN_TYPES: frozenset[object] = frozenset(
    {
        *(list, tuple, set, frozenset, dict, deque, str, bytes, bytearray, memoryview, type(None), io.BytesIO),
        *(type(iter(empty)) for empty in _EMPTY),
    }
)
#: The same of each type that iterates as these do.
_PLAIN_ITERATIONS = (list.__iter__, tuple.__iter__)


def is_at_hand(result: Any, file_wrapper: object) -> bool:
    """Return whether sending a result cannot run any more of the application, nor fail in it half way.

    True of lists and tuples, of the server's own file wrapper, and of the mark by which an application tells eventlet
    that it has taken the connection over. The server must see the very object: it counts its chunks, or sends the file
    by itself.
    """
    kind = type(result)
    if kind is list or kind is tuple or is_file(result, file_wrapper):
        return True
    if isinstance(result, list | tuple):
        return type(result).__iter__ in _PLAIN_ITERATIONS
    return kind.__module__ == "eventlet.wsgi"


def is_plain(result: object) -> bool:
    """Return whether no message can be said while a server iterates a result, as far as its type tells.

    True of Python's own containers and their iterators, of opened files, and of what cannot be iterated at all.
    """
    kind = type(result)
    if kind in _PLAIN_TYPES:
        return True
    if kind is io.BufferedReader:
        return type(result.raw) is io.FileIO  # type: ignore[attr-defined]
    return not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__"))


def is_file(result: object, file_wrapper: object) -> bool:
    """Return whether a result is of the server's own file wrapper, where that is a type."""
    return isinstance(file_wrapper, type) and isinstance(result, file_wrapper)


def close_result(result: object) -> None:
    """Close what an application returned, where it can be closed."""
    close = getattr(result, "close", None)
    if close is not None:
        close()


class _Restartable(Iterator[bytes], Protocol):
    def restart(self) -> Iterator[bytes] | None: ...

    def close(self) -> None: ...


class _Pass(Iterator[bytes]):
    """One iteration of a response; when a further one has begun, it goes on with `rest` by itself."""

    __slots__ = ("_response", "rest")

    def __init__(self, response: _Restartable) -> None:
        self._response = response
        self.rest: Iterator[bytes] | None = None

    def __next__(self) -> bytes:
        return next(self._response if self.rest is None else self.rest)


class SizedBody:
    """A response of which the application told the number of chunks, and which may be iterated as often as its own.

    The iterations are apart from one another: gevent measures a body when its first chunk is about to leave.
    """

    __slots__ = ("_pass", "_response", "_result")

    def __init__(self, response: _Restartable, result: Any) -> None:
        self._response = response
        self._result = result
        self._pass: _Pass | None = None

    def __len__(self) -> int:
        return len(self._result)

    def __iter__(self) -> Iterator[bytes]:
        if self._pass is not None:
            self._pass.rest = self._response.restart()
        self._pass = _Pass(self._response)
        return self._pass

    def close(self) -> None:
        """Close the response."""
        self._response.close()


class TakenBody(list[bytes]):
    """The chunks of a whole response whose number the application told."""

    __slots__ = ("_response",)

    def __init__(self, response: _Restartable, chunks: Sequence[bytes]) -> None:
        super().__init__(chunks)
        self._response = response

    def close(self) -> None:
        """Close the response."""
        self._response.close()


def with_length(response: _Restartable, result: Any, taken: Sequence[bytes] | None) -> Iterable[bytes]:
    """Return what stands for a result whose number of chunks the application told, and promises no other number.

    :param taken: the chunks that were taken of it, where it has come to its end by that; None where none were.
    """
    if taken is None:
        return SizedBody(response, result)
    return TakenBody(response, taken) if len(taken) == len(result) else response

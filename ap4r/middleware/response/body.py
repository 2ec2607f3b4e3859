"""The chunks of a response: those held until the verdict, those ready to be sent, and the kinds of bodies.

It decides nothing. Chunks are sent in the order and in the pieces that the application produced.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol


class BufferedBody:
    """A queue in two parts: the chunks that are ready to be sent, and behind them those that are held."""

    __slots__ = ("_held", "held_bytes", "ready")

    def __init__(self) -> None:
        self.ready: deque[bytes] = deque()
        self._held: list[bytes] = []
        self.held_bytes = 0

    def hold(self, chunk: bytes) -> None:
        """Hold a chunk."""
        self._held.append(chunk)
        self.held_bytes += len(chunk)

    def pass_on(self, chunk: bytes) -> None:
        """Add a chunk that is ready to be sent, behind everything that was held."""
        if self._held:
            self.release()
        self.ready.append(chunk)

    @property
    def held(self) -> Sequence[bytes]:
        """The chunks that are held."""
        return self._held

    def release(self, *, but_last: bool = False) -> None:
        """Make all held chunks ready to be sent; with `but_last`, all but the last one."""
        if not self._held:
            return
        kept = self._held[-1:] if but_last else []
        self.ready.extend(self._held[:-1] if but_last else self._held)
        self._held = kept
        self.held_bytes = sum(map(len, kept))

    def followed_by(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Return the chunks of this body, followed by these."""
        return chain((*self.ready, *self._held), chunks)

    def drop(self) -> None:
        """Drop every chunk that was not sent."""
        self.ready.clear()
        self._held.clear()
        self.held_bytes = 0


_EMPTY: tuple[Any, ...] = ([], (), set(), {}, {}.values(), b"", deque())
#: Iterating these runs no code of the application.
_PLAIN_TYPES: frozenset[object] = frozenset(
    {
        *(list, tuple, set, frozenset, dict, deque, str, bytes, bytearray, memoryview, type(None), io.BytesIO),
        *(type(iter(empty)) for empty in _EMPTY),
    }
)
#: The iteration of a subclass that iterates as its base does.
_PLAIN_ITERATIONS = (list.__iter__, tuple.__iter__)


def is_at_hand(result: Any, file_wrapper: object) -> bool:
    """Return whether sending a result can neither run the application further nor fail half way.

    This holds for lists and tuples, for the server's own file wrapper, and for the object by which an application tells
    eventlet that it has taken the connection over. The server must get the very same object: it counts the chunks, or
    sends the file itself.
    """
    kind = type(result)
    if kind is list or kind is tuple or is_file(result, file_wrapper):
        return True
    if isinstance(result, list | tuple):
        return type(result).__iter__ in _PLAIN_ITERATIONS
    return kind.__module__ == "eventlet.wsgi"


def is_plain(result: object) -> bool:
    """Return whether no message can be sent while a server iterates a result, as far as its type shows.

    This holds for Python's own containers and their iterators, for open files, and for objects that are not iterable.
    """
    kind = type(result)
    if kind in _PLAIN_TYPES:
        return True
    if kind is io.BufferedReader:
        return type(result.raw) is io.FileIO  # type: ignore[attr-defined]
    return not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__"))


def is_file(result: object, file_wrapper: object) -> bool:
    """Return whether a result is an instance of the server's own file wrapper, if that is a type."""
    return isinstance(file_wrapper, type) and isinstance(result, file_wrapper)


def close_result(result: object) -> None:
    """Close the object that an application returned, if it can be closed."""
    close = getattr(result, "close", None)
    if close is not None:
        close()


class _Restartable(Iterator[bytes], Protocol):
    def restart(self) -> Iterator[bytes] | None: ...

    def close(self) -> None: ...


class _Iteration(Iterator[bytes]):
    """One iteration of a response; after another one has begun, it continues independently with `rest`."""

    __slots__ = ("_response", "rest")

    def __init__(self, response: _Restartable) -> None:
        self._response = response
        self.rest: Iterator[bytes] | None = None

    def __next__(self) -> bytes:
        return next(self._response if self.rest is None else self.rest)


class SizedBody:
    """A response whose number of chunks is known from the application, and which can be iterated again.

    The iterations are independent: gevent measures a body just before it sends the first chunk.
    """

    __slots__ = ("_iteration", "_response", "_result")

    def __init__(self, response: _Restartable, result: Any) -> None:
        self._response = response
        self._result = result
        self._iteration: _Iteration | None = None

    def __len__(self) -> int:
        return len(self._result)

    def __iter__(self) -> Iterator[bytes]:
        if self._iteration is not None:
            self._iteration.rest = self._response.restart()
        self._iteration = _Iteration(self._response)
        return self._iteration

    def close(self) -> None:
        """Close the response."""
        self._response.close()


class TakenBody(list[bytes]):
    """The chunks of a complete response whose number is known from the application."""

    __slots__ = ("_response",)

    def __init__(self, response: _Restartable, chunks: Sequence[bytes]) -> None:
        super().__init__(chunks)
        self._response = response

    def close(self) -> None:
        """Close the response."""
        self._response.close()


def with_length(response: _Restartable, result: Any, taken: Sequence[bytes] | None) -> Iterable[bytes]:
    """Return the iterable that replaces a result of known length, and that never states a different length.

    :param taken: all chunks of the result, if it was read to its end; None if nothing was read.
    """
    if taken is None:
        return SizedBody(response, result)
    return TakenBody(response, taken) if len(taken) == len(result) else response

"""A block that is entered once, and says so where somebody keeps it for a second time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

from ap4r.errors import BlockUsed

T = TypeVar("T")


class SingleUse(AbstractContextManager[T], Generic[T]):
    """A context manager around one that cannot be entered twice."""

    def __init__(self, name: str, block: AbstractContextManager[T]) -> None:
        self._name = name
        self._block = block
        self._is_used = False

    def __enter__(self) -> T:
        """Enter it.

        :raises BlockUsed: it was entered before.
        """
        if self._is_used:
            raise BlockUsed(self._name)
        self._is_used = True
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Leave it."""
        return self._block.__exit__(kind, error, traceback)

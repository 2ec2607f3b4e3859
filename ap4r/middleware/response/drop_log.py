"""The log of messages that were dropped although no failure was seen: their connection was taken over, or had ended."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

TOLD_SECONDS = 60.0  #: between two lines about one path
_MAX_PATHS = 1_000  #: remembered at once; a stranger chooses the paths

_log = logging.getLogger("ap4r.middleware")


class DropLog:
    """Tells of dropped messages at most once a minute and path.

    :param monotonic: seconds; a test's own clock.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._told_at: OrderedDict[str, float] = OrderedDict()

    def tell(self, method: str, path: str, count: int, is_taken_over: bool) -> None:
        """Log that so many messages were dropped, unless that was told of this path just now.

        :param is_taken_over: the application began no response; else the connection has ended before its end.
        """
        if not count or not self._is_due(path):
            return
        if is_taken_over:
            why = (
                "the request ended without a response, as where a WebSocket handler takes the connection over. Call "
                'environ["ap4r"].commit() when they are to go'
            )
        else:
            why = "the connection ended before its response did, which is no success"
        _log.warning(
            "%s %r: messages that waited for success are dropped (%d): %s (told once a minute and path)",
            *(method, path, count, why),
        )

    def _is_due(self, path: str) -> bool:
        now = self._monotonic()
        told_at = self._told_at.get(path)
        if told_at is not None and now - told_at < TOLD_SECONDS:
            return False
        while self._told_at and (now - next(iter(self._told_at.values())) >= TOLD_SECONDS):
            self._told_at.popitem(last=False)
        if len(self._told_at) >= _MAX_PATHS:
            return False
        self._told_at[path] = now
        return True

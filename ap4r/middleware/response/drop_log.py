"""Logs messages that were dropped although no failure was visible: their connection was taken over, or had ended."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

BETWEEN_LINES_SECONDS = 60.0  #: between two lines about one path
_MAX_PATHS = 1_000  #: remembered at once; clients choose the paths

_log = logging.getLogger("ap4r.middleware")


class DropLog:
    """Logs dropped messages at most once a minute for each path.

    :param monotonic: the time in seconds; tests pass a clock of their own.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._logged_at: OrderedDict[str, float] = OrderedDict()

    def log(self, method: str, path: str, count: int, is_taken_over: bool) -> None:
        """Log the number of dropped messages, unless this path was logged less than a minute ago.

        :param is_taken_over: the application started no response; else the connection ended before its response did.
        """
        if not count or not self._is_due(path):
            return
        if is_taken_over:
            why = (
                "the request ended without a response, as when a WebSocket handler takes the connection over. Call "
                'environ["ap4r"].commit() to send them'
            )
        else:
            why = "the connection ended before its response did, which does not count as success"
        _log.warning(
            "%s %r: messages that waited for success are dropped (%d): %s (logged once a minute and path)",
            *(method, path, count, why),
        )

    def _is_due(self, path: str) -> bool:
        now = self._monotonic()
        logged_at = self._logged_at.get(path)
        if logged_at is not None and now - logged_at < BETWEEN_LINES_SECONDS:
            return False
        while self._logged_at and (now - next(iter(self._logged_at.values())) >= BETWEEN_LINES_SECONDS):
            self._logged_at.popitem(last=False)
        if len(self._logged_at) >= _MAX_PATHS:
            return False
        self._logged_at[path] = now
        return True

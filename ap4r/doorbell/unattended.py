"""The warning that messages wait and no dispatcher delivers them.

It only reads a store's counts; the doorbell decides when, and in which thread.
"""

from __future__ import annotations

import logging

from ap4r.storage.reports import is_stuck

BETWEEN_LOOKS_SECONDS = 30.0

_log = logging.getLogger("ap4r.outbox")


class UnattendedWarning:
    """Warns once in the life of a process, and until then reads at most once in 30 s."""

    def __init__(self, sink: object) -> None:
        self._sink = sink
        self._look_at: float | None = None
        self._warned = False

    def look(self, now: float) -> None:
        """Read the store's counts if it is time to, and warn if messages wait and no dispatcher is alive.

        :param now: a monotonic instant.
        :raises StoreError: the store could not be read.
        """
        status = getattr(self._sink, "status", None)
        if self._warned or status is None or (self._look_at is not None and now < self._look_at):
            return
        self._look_at = now + BETWEEN_LOOKS_SECONDS
        found = status()
        if is_stuck(found):
            self._warned = True
            _log.warning(
                "messages have been due in %s for %.0f s and no dispatcher of that store is alive; "
                "start one with: twistd -n ap4r --store %s",
                *(getattr(self._sink, "name", "the store"), found.oldest_due_seconds),
                getattr(self._sink, "name", "URL"),
            )

"""Detects dispatchers whose heartbeat has stopped: a pure observer of their counters, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ap4r.storage.reports import SILENT_SECONDS
from ap4r.storage.store import Beat

#: A dispatcher without leases beats each 30 s; it need not be detected quickly.
SILENT_IDLE_SECONDS = 100.0
#: Between two readings while there is no other dispatcher. A little less than 5 s: one that starts, claims and dies
#: right after a reading is seen at the next and considered dead 15 s later, within 20 s in all.
READ_SECONDS = 4.9
#: The same while others live and hold no lease; more often would be more than 0.3 statements a second.
COMPANY_READ_SECONDS = 4.0
ALERT_READ_SECONDS = 1.0  #: between two readings while others hold leases
#: A longer gap between two successful readings means that the store (or this process) was unavailable, and then others
#: could not send heartbeats either: every observation begins again.
LONGEST_GAP_SECONDS = 8.0
#: A reading that begins so much later than planned means that this process was blocked. Others on the same
#: machine may have been blocked too, so that time does not count as silence.
_PUNCTUAL_SECONDS = 1.0
#: A store that can be read but not written prevents others from beating. So silence only counts if a write of our own
#: has succeeded, and so long ago that those who waited to beat have beaten by now.
PROOF_SECONDS = 1.5
#: The greatest age of that write.
_PROOF_KEPT_SECONDS = 8.0
#: It is made so long before the silence is complete, so that it causes no delay.
_PROOF_AHEAD_SECONDS = 2.0


@dataclass(slots=True)
class _Seen:
    beat: int
    holds_leases: bool
    since: float


class DeadPeers:
    """Records, by this process's own monotonic clock, since when each dispatcher's counter has not moved."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._began = 0.0
        self._ended: float | None = None
        self._wait_seconds = READ_SECONDS
        self._wrote_at: float | None = None

    def saw(self, began: float, ended: float, beats: Iterable[Beat], own: str) -> None:
        """Record a successful reading, by own monotonic time.

        Silence counts from the end of the first reading to the beginning of the last, the least that is certain.

        :param own: this dispatcher's owner id, which it does not watch.
        """
        gap = self._ended is not None and began - self._ended > LONGEST_GAP_SECONDS
        before = {} if gap else self._seen
        late_seconds = 0.0 if self._ended is None else began - self._ended - self._wait_seconds
        if late_seconds > _PUNCTUAL_SECONDS:
            for one in before.values():
                one.since += late_seconds
        self._began, self._ended = began, ended
        self._seen = {}
        for beat in beats:
            if beat.owner == own:
                continue
            seen = before.get(beat.owner)
            if seen is None or seen.beat != beat.beat or seen.holds_leases != beat.holds_leases:
                seen = _Seen(beat.beat, beat.holds_leases, ended)
            self._seen[beat.owner] = seen

    def silent(self) -> list[tuple[str, int]]:
        """Return owner and beat of the dispatchers that are considered dead, as of the last reading."""
        if self._wrote_at is None or not PROOF_SECONDS <= self._began - self._wrote_at <= _PROOF_KEPT_SECONDS:
            return []
        return self._silent_for(0.0)

    def wants_proof(self) -> bool:
        """Return whether a write of our own must show that others could beat."""
        is_proved = self._wrote_at is not None and self._began - self._wrote_at <= _PROOF_KEPT_SECONDS / 2
        return not is_proved and bool(self._silent_for(-_PROOF_AHEAD_SECONDS))

    def wrote(self, at: float) -> None:
        """Record that a write of our own succeeded at this monotonic time."""
        self._wrote_at = at

    def _silent_for(self, more_seconds: float) -> list[tuple[str, int]]:
        return [
            (owner, seen.beat)
            for owner, seen in self._seen.items()
            if self._began - seen.since >= (SILENT_SECONDS if seen.holds_leases else SILENT_IDLE_SECONDS) + more_seconds
        ]

    def forget(self, owner: str) -> None:
        """Start observing this dispatcher again at the next reading."""
        self._seen.pop(owner, None)

    def read_in_seconds(self, now: float) -> float:
        """Return how long to wait until the next reading."""
        self._wait_seconds = self._read_in_seconds(now)
        return self._wait_seconds

    def _read_in_seconds(self, now: float) -> float:
        if not self._seen:
            return READ_SECONDS
        holding = [seen.since for seen in self._seen.values() if seen.holds_leases]
        if not holding:
            return COMPANY_READ_SECONDS
        # Exactly when the first of them has been silent for long enough, if that is sooner.
        until_first = min(holding) + SILENT_SECONDS - now
        return min(ALERT_READ_SECONDS, until_first) if until_first > 0 else ALERT_READ_SECONDS

"""How many calls may be made, and to whom none for a while. Pure: time and chance are arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

FIRST_HOLD_SECONDS = 1.0
#: The longest hold: a target that said 503 or a Retry-After of an hour is still probed this often.
LONGEST_HOLD_SECONDS = 30.0


def growing_wait(times: int, longest_seconds: float, random: float) -> float:
    """Give 1, 2, 4 … seconds for the 1st, 2nd, 3rd time in a row, up to `longest_seconds`, less up to a quarter.

    The jitter keeps several dispatchers from probing in step.

    :param random: a number from 0 up to 1.
    """
    full = min(longest_seconds, FIRST_HOLD_SECONDS * 2.0 ** min(times - 1, 30))
    return full * (1.0 - 0.25 * random)


class Admission(Enum):
    """Whether a call may be made."""

    CALL = auto()
    PROBE = auto()  #: the one call that tries a target after a hold
    HELD = auto()  #: the target is held, or as many calls as it may have are in flight


@dataclass(slots=True)
class _Hold:
    until: float
    times: int = 1
    probing: bool = False


class Limit:
    """Counts calls in flight and remembers which origins are held.

    A hold begins when an origin accepts no connection or asks for less. When it is over, one call probes: any
    answer that does not ask for less releases the origin, anything else holds it for twice as long.
    """

    def __init__(self, concurrency: int, caps: Mapping[str, int] | None = None) -> None:
        self.concurrency = concurrency
        self._caps = dict(caps or {})
        self._in_flight = 0
        self._by_origin: Counter[str] = Counter()
        self._holds: dict[str, _Hold] = {}

    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
        return self._in_flight

    def tightest(self) -> int:
        """Tell the fewest calls at which something is full: the whole, or an origin with a limit of its own."""
        return min(self.concurrency, *self._caps.values()) if self._caps else self.concurrency

    def room(self) -> int:
        """Tell how many messages may be claimed now.

        It is so small that no capped origin can get more than it may have, unless that has no room at all
        (`closed` names it then).
        """
        room = self.concurrency - self._in_flight
        for origin, cap in self._caps.items():
            free = cap - self._by_origin[origin]
            if free > 0:
                room = min(room, free)
        return max(0, room)

    def closed(self, now: float) -> frozenset[str]:
        """Name the origins of which nothing is to be claimed now: held ones and full ones."""
        closed = {origin for origin, hold in self._holds.items() if hold.probing or now < hold.until}
        closed.update(origin for origin, cap in self._caps.items() if self._by_origin[origin] >= cap)
        return frozenset(closed)

    def full(self) -> bool:
        """Tell whether an origin's own limit keeps back what is waiting for it."""
        return any(self._by_origin[origin] >= cap for origin, cap in self._caps.items())

    def next_probe_at(self, now: float) -> float | None:
        """Tell when the next hold ends; None when none does."""
        return min((hold.until for hold in self._holds.values() if not hold.probing and hold.until > now), default=None)

    def held(self, now: float) -> dict[str, float]:
        """Give the held origins with the seconds until each is probed."""
        return {origin: max(0.0, hold.until - now) for origin, hold in self._holds.items()}

    def admit(self, origin: str, now: float) -> Admission:
        """Decide on a call to `origin`; after CALL and PROBE tell its end with `ended`."""
        admission = Admission.CALL
        hold = self._holds.get(origin) if self._holds else None
        if hold is not None:
            if hold.probing or now < hold.until:
                return Admission.HELD
            hold.probing = True
            admission = Admission.PROBE
        cap = self._caps.get(origin) if self._caps else None
        if cap is not None and self._by_origin[origin] >= cap:
            if hold is not None:
                hold.probing = False
            return Admission.HELD
        self._in_flight += 1
        self._by_origin[origin] += 1
        return admission

    def ended(self, origin: str) -> None:
        """Note that a call is over. Its meaning is told by `hold`, `release` or `unproved`."""
        self._in_flight -= 1
        self._by_origin[origin] -= 1
        if not self._by_origin[origin]:
            del self._by_origin[origin]

    def hold(self, origin: str, now: float, random: float, *, probe: bool, asked_seconds: float = 0.0) -> float | None:
        """Hold an origin that failed; the seconds if that is news, None if it was held already.

        Calls that were in flight when the hold began tell nothing new, so only a probe lengthens it.

        :param asked_seconds: what the target named; obeyed up to the longest hold.
        """
        hold = self._holds.get(origin)
        if hold is None:
            hold = self._holds[origin] = _Hold(now)
        elif probe:
            hold.times += 1
            hold.probing = False
        else:
            hold.until = max(hold.until, now + min(asked_seconds, LONGEST_HOLD_SECONDS))
            return None
        seconds = growing_wait(hold.times, LONGEST_HOLD_SECONDS, random)
        seconds = max(seconds, min(asked_seconds, LONGEST_HOLD_SECONDS))
        hold.until = now + seconds
        return seconds

    def release(self, origin: str) -> bool:
        """Let a probed origin have calls again; true if it was held."""
        return self._holds.pop(origin, None) is not None

    def cut_short(self, origin: str, now: float) -> None:
        """Let the next call probe at once: something tells that it is worth it."""
        hold = self._holds.get(origin)
        if hold is not None:
            hold.until = min(hold.until, now)

    def unproved(self, origin: str) -> None:
        """Note that a probe was cut short: the next call probes."""
        hold = self._holds.get(origin)
        if hold is not None:
            hold.probing = False

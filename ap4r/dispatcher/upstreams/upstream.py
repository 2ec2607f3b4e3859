"""One upstream as the dispatcher sees it: the choice of a server, ejection, and the return of ejected servers.

Pure: time and random numbers are arguments. Only failures that are not a message's fault eject a server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ap4r.dispatcher.flow.bounded_dict import Remembered
from ap4r.dispatcher.flow.holds import LONGEST_HOLD_SECONDS, growing_wait
from ap4r.dispatcher.flow.reduced_limits import QUEUES, WITHIN_SECONDS
from ap4r.dispatcher.upstreams.balance import POLICIES, Candidate, Random
from ap4r.settings.upstreams import LEAST_OUTSTANDING

#: A server that returns gets few calls at first, and its whole share after so long.
RETURN_SECONDS = 10.0
TRICKLE = 0.05
#: Calls in a row without an answer of the application after which their server is ejected: a single one may be the
#: fault of the message or of the server.
BAD_IN_A_ROW = 3
#: The number of queues whose paused servers are remembered, for so long after the last answer that asked for a pause.
MOST_QUEUES, QUEUE_SECONDS = 1_000, 120.0


@dataclass(slots=True)
class _LeftOut:
    until: float
    times: int


class Upstream:
    """A named set of interchangeable servers."""

    def __init__(
        self,
        name: str,
        servers: Sequence[str],
        weights: Mapping[str, float] | None = None,
        balance: str = LEAST_OUTSTANDING,
    ) -> None:
        self.name = name
        self.servers: tuple[str, ...] = ()
        self._candidates: dict[str, Candidate] = {}
        self._left_out: dict[str, _LeftOut] = {}
        self._bad: dict[str, int] = {}
        self._failed_checks: set[str] = set()
        #: Queues that a server asked for a pause, and when each of a server's queues was asked recently.
        self._asked: Remembered[tuple[str, str], _LeftOut] = Remembered(MOST_QUEUES, QUEUE_SECONDS)
        self._asking: dict[str, dict[str, float]] = {}
        self.replace_servers(servers, weights, balance)

    def replace_servers(
        self, servers: Sequence[str], weights: Mapping[str, float] | None = None, balance: str | None = None
    ) -> None:
        """Use another list of servers; what is known of those that stay is kept."""
        weights = weights or {}
        self.servers = tuple(servers)
        old = self._candidates
        self._candidates = {url: old.get(url) or Candidate(url) for url in self.servers}
        for url, candidate in self._candidates.items():
            candidate.weight = weights.get(url, 1.0)
            candidate.credit = 0.0
        if balance is not None:
            self._choose = POLICIES[balance]
        self._left_out = {server: out for server, out in self._left_out.items() if server in self._candidates}
        self._bad = {server: count for server, count in self._bad.items() if server in self._candidates}
        self._failed_checks &= set(self.servers)
        self._asking = {server: queues for server, queues in self._asking.items() if server in self._candidates}

    def choose(
        self,
        now: float,
        tried: Collection[str] = (),
        *,
        queue: str = "",
        random: Random = lambda: 0.5,
        anyway: bool = False,
    ) -> str | None:
        """Return a server that is not ejected and not in `tried`; None when there is none.

        :param queue: the queue of the call; a server that asked it for a pause is only returned if all did.
        :param anyway: return an ejected server rather than none, the one whose time ends first. This is how
            a probe finds out whether one of them works again. A server whose checks fail is never returned.
        """
        if not self._left_out and not tried and not self._failed_checks and not len(self._asked):
            if len(self.servers) == 1:
                return self.servers[0]
            return self._choose(list(self._candidates.values()), random).url if self._candidates else None
        rest = [url for url in self.servers if url not in tried and url not in self._failed_checks]
        good = [url for url in rest if not self._is_left_out(url, now)]
        if good:
            if len(self._asked):
                good = [url for url in good if not self._is_asked(queue, url, now)] or good
            # By a random number and not by the weight, so that it is the same for every policy.
            back = [url for url in good if url not in self._left_out or random() < self.share(url, now)]
            return self._choose([self._candidates[url] for url in back or good], random).url
        if not anyway or not rest:
            return None
        return min(rest, key=lambda url: self._left_out[url].until)

    def share(self, server: str, now: float) -> float:
        """Return the part of its full share that a server gets: it grows from little when the server returns."""
        out = self._left_out.get(server)
        if out is None:
            return 1.0
        back = (now - out.until) / RETURN_SECONDS
        if back >= 1.0:
            del self._left_out[server]
            return 1.0
        return 0.0 if back < 0.0 else TRICKLE + (1.0 - TRICKLE) * back

    def begun(self, server: str) -> None:
        """Count a call that begins."""
        candidate = self._candidates.get(server)
        if candidate is not None:
            candidate.outstanding += 1

    def ended(self, server: str) -> None:
        """Count a call that ended."""
        candidate = self._candidates.get(server)
        if candidate is not None and candidate.outstanding:
            candidate.outstanding -= 1

    def refused(self, server: str, now: float, random: float) -> float | None:
        """Eject a server; return the seconds, or None if it was ejected already."""
        out = self._left_out.get(server)
        if server not in self._candidates or (out is not None and now < out.until):
            return None
        times = 1 if out is None else out.times + 1
        seconds = growing_wait(times, LONGEST_HOLD_SECONDS, random)
        self._left_out[server] = _LeftOut(now + seconds, times)
        self._bad.pop(server, None)
        return seconds

    def suspected(self, server: str, now: float, random: float) -> float | None:
        """Eject a server after several calls in a row without a good answer, if others are there for its share."""
        bad = self._bad[server] = self._bad.get(server, 0) + 1
        if bad < BAD_IN_A_ROW or not self.has_good(now, server):
            return None
        return self.refused(server, now, random)

    def asked_less(self, queue: str, server: str, now: float, random: float, asked_seconds: float) -> bool:
        """Pause a queue at a server whose action asked for a pause; return whether others are there for the queue.

        If several queues of the server were asked, all get few calls there, as at a server that returns.
        """
        if server not in self._candidates or len(self.servers) < 2:
            return False
        asked = self._asked.get((queue, server), now)
        if asked is None or now >= asked.until:
            times = 1 if asked is None else asked.times + 1
            seconds = max(growing_wait(times, LONGEST_HOLD_SECONDS, random), min(asked_seconds, LONGEST_HOLD_SECONDS))
            self._asked.put((queue, server), _LeftOut(now + seconds, times), now)
        asking = {one: at for one, at in self._asking.get(server, {}).items() if now - at < WITHIN_SECONDS}
        asking[queue] = now
        while len(asking) > QUEUES:
            del asking[min(asking, key=asking.__getitem__)]
        self._asking[server] = asking
        if len(asking) >= QUEUES and not self._is_left_out(server, now):
            del self._asking[server]
            self._left_out[server] = _LeftOut(now, 0)
        return any(
            url not in self._failed_checks and not self._is_left_out(url, now) and not self._is_asked(queue, url, now)
            for url in self.servers
        )

    def answered(self, server: str, now: float, queue: str = "") -> None:
        """Record that a server answered: its next failure counts as the first, and an ejected one returns.

        :param queue: the queue whose action answered without asking for a pause; "" if it asked.
        """
        if self._bad:
            self._bad.pop(server, None)
        if queue and len(self._asked):
            self._asked.pop((queue, server))
        out = self._left_out.get(server) if self._left_out else None
        if out is not None:
            out.times = 0
            out.until = min(out.until, now)

    def checked(self, server: str, now: float, *, passed: bool) -> bool:
        """Record the result of an active check; return whether it changes anything."""
        if server not in self._candidates:
            return False
        if not passed:
            news = server not in self._failed_checks
            self._failed_checks.add(server)
            return news
        if server not in self._failed_checks:
            return False
        self._failed_checks.remove(server)
        self._left_out[server] = _LeftOut(now, 0)
        return True

    def check_no_more(self) -> None:
        """Forget the results of checks."""
        self._failed_checks.clear()

    def has_good(self, now: float, beside: str = "") -> bool:
        """Return whether a server other than `beside` can be called."""
        return any(
            url != beside and url not in self._failed_checks and not self._is_left_out(url, now) for url in self.servers
        )

    def _is_asked(self, queue: str, server: str, now: float) -> bool:
        asked = self._asked.get((queue, server), now)
        return asked is not None and now < asked.until

    def _is_left_out(self, server: str, now: float) -> bool:
        out = self._left_out.get(server)
        return out is not None and now < out.until

"""Which server of an upstream is called: each in turn, without those that refused. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ap4r.dispatcher.limit import LONGEST_HOLD_SECONDS, growing_wait
from ap4r.target import Target


@dataclass(slots=True)
class _LeftOut:
    until: float
    times: int


class Upstream:
    """A named set of interchangeable servers."""

    def __init__(self, name: str, servers: Sequence[str]) -> None:
        self.name = name
        self.servers = tuple(servers)
        self._next = 0
        self._left_out: dict[str, _LeftOut] = {}

    def replace_servers(self, servers: Sequence[str]) -> None:
        """Take another list of servers; what is known of those that stay is kept."""
        self.servers = tuple(servers)
        self._next = 0
        self._left_out = {server: out for server, out in self._left_out.items() if server in self.servers}

    def choose(self, now: float, tried: Collection[str] = (), *, anyway: bool = False) -> str | None:
        """Give the next server in turn that is not left out and not in `tried`; None when there is none.

        :param anyway: rather a server that is left out than none, the one whose time is over first. This is how
            a probe finds out whether one of them has come back.
        """
        if len(self.servers) == 1 and not self._left_out and not tried:
            return self.servers[0]
        count = len(self.servers)
        for step in range(count):
            server = self.servers[(self._next + step) % count]
            if server not in tried and not self._is_left_out(server, now):
                self._next = (self._next + step + 1) % count
                return server
        rest = [server for server in self.servers if server not in tried]
        if not anyway or not rest:
            return None
        return min(rest, key=lambda server: self._left_out[server].until)

    def refused(self, server: str, now: float, random: float) -> float | None:
        """Leave a server out that accepted no connection; the seconds if that is news, None if it was already."""
        out = self._left_out.get(server)
        if server not in self.servers or (out is not None and now < out.until):
            return None
        times = 1 if out is None else out.times + 1
        seconds = growing_wait(times, LONGEST_HOLD_SECONDS, random)
        self._left_out[server] = _LeftOut(now + seconds, times)
        return seconds

    def answered(self, server: str) -> None:
        """Take a server back that was reached."""
        if self._left_out:
            self._left_out.pop(server, None)

    def _is_left_out(self, server: str, now: float) -> bool:
        out = self._left_out.get(server)
        return out is not None and now < out.until


def url_of(upstreams: Mapping[str, Upstream], target: Target, now: float) -> str | None:
    """Give the whole URL of a target, its server chosen; None when no server is there for it."""
    if target.upstream is None:
        return target.url
    upstream = upstreams.get(target.upstream)
    server = None if upstream is None else upstream.choose(now, anyway=True)
    return None if server is None else server + target.url

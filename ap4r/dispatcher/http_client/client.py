"""What the exchanges of a process share: kept connections, deadlines, settings.

It makes calls (`ap4r.dispatcher.http_client.exchange`) and does not depend on their content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgentEndpointFactory

from ap4r.dispatcher.clock.clock_watch import RunningTime
from ap4r.dispatcher.delivery.request import Request
from ap4r.dispatcher.http_client.exchange import AnswerReader, HttpExchange
from ap4r.dispatcher.http_client.pool import Pool
from ap4r.dispatcher.http_client.timeouts import Deadlines
from ap4r.dispatcher.upstreams.server_routes import ServerRoute
from ap4r.outcome.outcome import Exchange


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings of an exchange. Durations are seconds, sizes are bytes."""

    connect_timeout_seconds: float = 5.0
    read_bytes: int = 1024 * 1024
    kept_bytes: int = 4 * 1024
    search_true: bool = False


class HttpClient:
    """Makes exchanges over persistent connections."""

    def __init__(
        self,
        clock: IReactorTime,
        endpoints: IAgentEndpointFactory,
        bounds: Bounds,
        *,
        connections: int,
        time: RunningTime | None = None,
    ) -> None:
        self.clock = clock
        self.endpoints = endpoints
        self.route = ServerRoute(endpoints)  #: of requests without one
        self.bounds = bounds
        self.kept = Pool(clock, connections)
        self.deadlines = Deadlines(clock, time)

    def begin(
        self,
        request: Request,
        timeout_seconds: float,
        done: Callable[[Exchange], None],
        *,
        may_write: Callable[[], bool],
        fresh: bool = False,
        read: AnswerReader | None = None,
        route: ServerRoute | None = None,
    ) -> HttpExchange:
        """Begin an exchange; `done` gets its result exactly once, possibly before this returns.

        :param may_write: called right before the first byte is written; False ends the exchange uncalled.
        :param fresh: over a connection of its own, which cannot be stale.
        :param read: gets the whole answer before its body is cut; its reading becomes part of the answer.
        :param route: the route to the request's server; None for that of absolute URLs.
        """
        call = HttpExchange(self, done, may_write, fresh=fresh, read=read, route=route or self.route)
        call.start(request, timeout_seconds)
        return call

    def allow(self, connections: int, endpoints: IAgentEndpointFactory, bounds: Bounds) -> None:
        """Use other settings for exchanges from now on; connections stay open."""
        self.kept.most = connections
        if endpoints is not self.endpoints:
            self.endpoints, self.route = endpoints, ServerRoute(endpoints)
        self.bounds = bounds

    def close(self) -> None:
        """Close the kept connections."""
        self.kept.close()
        self.deadlines.close()

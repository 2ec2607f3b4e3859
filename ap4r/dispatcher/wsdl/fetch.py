"""Fetches the documents of a description: an upstream's own by the route to it, others like absolute URLs.

The credentials of an upstream (a certificate, Authorization, a proxy's secret) are only sent to its own servers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import Deferred, succeed

from ap4r.dispatcher.delivery.caller_identity import PLAIN, CallerIdentity
from ap4r.dispatcher.delivery.request import USER_AGENT, Request, host_of, shown
from ap4r.dispatcher.http_client.client import HttpClient
from ap4r.dispatcher.http_client.headers import header_lines
from ap4r.dispatcher.upstreams.server_routes import ServerRoute, ServerRoutes
from ap4r.dispatcher.upstreams.upstream import Upstream
from ap4r.errors import Ap4rError
from ap4r.message.target import Target, parse_target
from ap4r.outcome.response import Answer, Exchange, NoResponse, Reason

FETCH_SECONDS = 30.0
_ACCEPT = b"text/xml, application/xml, */*"

#: Returns the whole body of a GET, or why there is none.
Fetch = Callable[[str], "Deferred[bytes | NoResponse]"]


@dataclass(frozen=True, slots=True)
class Source:
    """A description's first document, and what fetches it and its references. `server` is the upstream's."""

    url: str
    fetch: Fetch
    server: str = ""


class DocumentFetcher:
    """Fetches documents with the client that makes the calls, so that the same addresses are refused.

    :param caller_of: returns the Host and scheme by which an upstream is called.
    """

    def __init__(
        self,
        transport: HttpClient,
        routes: ServerRoutes,
        upstreams: Mapping[str, Upstream],
        caller_of: Callable[[Target], CallerIdentity],
        random: Callable[[], float],
    ) -> None:
        self.copies: Mapping[str, str] = {}  #: files that replace documents, by URL
        self._caller_of = caller_of
        self._random = random
        self._transport = transport
        self._routes = routes
        self._upstreams = upstreams

    def owner(self, document: Target, called: Target) -> str:
        """Return the name of the upstream from which a document is fetched, or "".

        If a message goes to an upstream, an absolute URL on that upstream's own origin belongs to it too.
        """
        if document.upstream is not None:
            return document.upstream
        name = called.upstream or ""
        return name if document.origin in self._origins(name) else ""

    def source(self, document: Target, owner: str, tried: Collection[str] = ()) -> Source | None:
        """Return where a document is and how to fetch it; None when no server of its upstream is available.

        :param owner: a result of `owner`.
        :param tried: servers of the upstream that must not be used.
        """
        if not owner:
            return Source(document.url, partial(self._fetch, {}, PLAIN))
        upstream = self._upstreams.get(owner)
        if upstream is None:
            return None
        server = upstream.choose(self._transport.clock.seconds(), tried, random=self._random, anyway=True)
        if server is None:
            return None
        origins = self._origins(owner, server)
        url = document.url if document.upstream is None else self._routes.of(owner, server).base + document.url
        return Source(url, partial(self._fetch, origins, self._caller_of(Target("/", owner))), server)

    def _origins(self, name: str, first: str | None = None) -> dict[str, ServerRoute]:
        """Return the routes to the origins that are an upstream's own: those of its servers, and that of its `host`.

        :param first: the server to use if several have one name.
        """
        upstream = self._upstreams.get(name)
        servers = [*([first] if first else []), *(upstream.servers if upstream else ())]
        routes = [self._routes.of(name, server) for server in servers]
        origins: dict[str, ServerRoute] = {}
        for route in routes:
            origins.setdefault(Target(route.base).origin, route)
        caller = self._caller_of(Target("/", name))
        if caller.host and routes:
            scheme = caller.scheme or routes[0].base.partition(":")[0]
            origins.setdefault(parse_target(f"{scheme}://{caller.host}")[0].origin, routes[0])
        return origins

    def _fetch(
        self, origins: Mapping[str, ServerRoute], caller: CallerIdentity, url: str
    ) -> Deferred[bytes | NoResponse]:
        if url in self.copies:
            return succeed(_copy(url, self.copies[url]))
        answer: Deferred[bytes | NoResponse] = Deferred()
        bodies: list[bytes] = []

        def ended(exchange: Exchange) -> None:
            if isinstance(exchange, NoResponse):
                # Waiting does not change where requests are allowed to go.
                refused = exchange.reason is Reason.REFUSED_ADDRESS
                detail = f"{url}: {exchange.reason}: {exchange.detail}"
                answer.callback(NoResponse(exchange.reason, False, detail) if refused else missing(detail))
            elif not 200 <= exchange.status < 300:
                answer.callback(missing(f"{url} was answered {exchange.status}"))
            else:
                answer.callback(bodies[0])

        def read(whole: Answer) -> None:
            bodies.append(whole.body)

        try:
            target, _ = parse_target(url)
        except Ap4rError as error:
            answer.callback(useless(str(error)))
            return answer
        if target.upstream is not None:
            answer.callback(useless(f"{url} is not an http or https URL"))
            return answer
        route, whole_url = origins.get(target.origin), target.url
        headers = {b"user-agent": [USER_AGENT], b"accept": [_ACCEPT]}
        if route is not None:
            whole_url = Target(route.base).origin + target.url.removeprefix(target.origin)
            headers.update(shown(caller))
        headers.setdefault(b"host", [host_of(whole_url)])
        request = Request("GET", whole_url, header_lines(headers), b"")
        self._transport.begin(
            request, FETCH_SECONDS, ended, may_write=lambda: True, read=read, route=route or self._routes.to(whole_url)
        )
        return answer


def _copy(url: str, path: str) -> bytes | NoResponse:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return missing(f"{url}: its copy {path} cannot be read: {error.strerror}")


def useless(detail: str) -> NoResponse:
    """Return why a description will never be usable, which waiting does not change."""
    return NoResponse(Reason.BAD_DESCRIPTION, False, detail)


def missing(detail: str) -> NoResponse:
    """Return why there is no description: the message waits, and no failure is counted."""
    return NoResponse(Reason.NO_DESCRIPTION, False, detail)

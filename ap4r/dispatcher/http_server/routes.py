"""The site of the listen address: routes, each with its rules, over a bounded number of connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Site

from ap4r.dispatcher.http_server.admission import RequestAdmission
from ap4r.dispatcher.http_server.connections import Connections
from ap4r.dispatcher.http_server.health import Healthz, StoreFigures
from ap4r.dispatcher.http_server.intake.endpoint import undecodable
from ap4r.dispatcher.http_server.problem import Refusal
from ap4r.dispatcher.http_server.route_rules import Headed, RouteRules, RuleBook
from ap4r.dispatcher.http_server.site import Arrivals, PlainSite
from ap4r.settings.settings import Settings

#: Headers in which proxies report where a request comes from.
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class ListenSite:
    """The routes of the listening address, /healthz first."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        admission: Callable[[], RequestAdmission],
        facts: Callable[[], dict[str, Any]],
        figures: Sequence[StoreFigures],
        connections: Connections,
    ) -> None:
        """Store the settings and the admission, which are read for each request.

        :param facts: of /healthz.
        :param connections: counts the open connections, of all that come from elsewhere.
        """
        self._settings = settings
        self._admission = admission
        self._connections = connections
        #: The rules of pages that every caller may read who uses one of this address's names.
        self.looking = RouteRules(admit=self._admit, methods=("GET", "HEAD"))
        self._rules: dict[str, RouteRules] = {}
        self._root = Resource()
        self.add("healthz", Healthz(facts, figures, self._sees_all), self.looking)

    def add(self, path: str, resource: Resource, rules: RouteRules) -> None:
        """Add a route."""
        self._rules[path] = rules
        self._root.putChild(path.encode(), resource)

    def made(self, take_plain: Callable[[Any], None] | None = None) -> Site:
        """Return the site.

        :param take_plain: handles the plainest requests of POST /messages, if there is an intake.
        """
        arrivals = Arrivals(
            RuleBook(self._rules, self._admit),
            self._connections,
            seconds=lambda: self._settings().intake_body_seconds,
        )
        return PlainSite(self._root, arrivals, take_plain)

    def _admit(self, request: Headed) -> Refusal | None:
        not_text = undecodable(request)
        if not_text is not None:
            return not_text
        if len(request.fields.get(b"host", ())) > 1:
            return Refusal(400, "repeated_header", "the header Host occurs twice", "Host", "send it once")
        return self._admission().refuse_look(request.field(b"host"), request.field(b"origin"))

    def _sees_all(self, request: Headed) -> bool:
        fields: Mapping[bytes, Sequence[bytes]] = request.fields
        return self._admission().sees_all(
            request.field(b"host"),
            request.field(b"authorization"),
            getattr(request.getClientAddress(), "host", None),
            is_forwarded=any(name in fields for name in _FORWARDED),
        )

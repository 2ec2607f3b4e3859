"""The rules and bounds of a listening address, for tests of what comes in there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ap4r.dispatcher.http_server.connections import Connections
from ap4r.dispatcher.http_server.problem import Refusal
from ap4r.dispatcher.http_server.route_rules import MostBytes, RouteRules, RuleBook
from ap4r.dispatcher.http_server.site import Arrivals

_MOST_BYTES = MostBytes(2**20, "max_request_bytes", 2**20, "send less")


def arrivals_of(admit: Callable[[Any], Refusal | None] = lambda request: None, *, most: int = 1_000) -> Arrivals:
    """Create the HTTP factory for POST /messages and GET /healthz, with 1 MiB, 30 s and so many connections."""
    rules = {
        "messages": RouteRules(admit=admit, methods=("POST",), most_bytes=lambda: _MOST_BYTES),
        "healthz": RouteRules(admit=admit, methods=("GET", "HEAD")),
    }
    return Arrivals(RuleBook(rules, admit), Connections(most), seconds=lambda: 30.0)


class Missing(Resource):
    """Answers 404 whatever it is asked."""

    isLeaf = True

    def render(self, request: Any) -> int:
        """Answer."""
        request.respond(404, "application/json", b"{}", {})
        return NOT_DONE_YET

"""The settings of deliveries, replaced as a whole when they are reloaded."""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.dispatcher.delivery.caller_identity import CallerIdentities
from ap4r.dispatcher.delivery.rewrite import Rewriting
from ap4r.dispatcher.upstreams.server_routes import ServerRoutes
from ap4r.outcome.outcome import DeliveryRules


@dataclass(slots=True)
class DeliverySettings:
    """How attempts are decided and timed, how servers are called, where targets lead."""

    rules: DeliveryRules
    timeout_seconds: float
    callers: CallerIdentities
    rewriting: Rewriting
    routes: ServerRoutes

"""The dispatcher's dependencies: what the system provides (replaced in tests), and the settings of its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random as chance
from time import time as wall_clock

from twisted.web.iweb import IAgentEndpointFactory

from ap4r.dispatcher.compute.process_pool import Computing
from ap4r.dispatcher.delivery.caller_identity import CallerIdentities
from ap4r.dispatcher.delivery.delivery_settings import DeliverySettings
from ap4r.dispatcher.delivery.rewrite import Rewriting
from ap4r.dispatcher.http_client.client import Bounds
from ap4r.dispatcher.store_worker.heartbeat import boottime
from ap4r.dispatcher.store_worker.store_thread import Workers
from ap4r.dispatcher.upstreams.server_routes import ServerRoutes
from ap4r.dispatcher.wsdl.cache import DescribingRules
from ap4r.message.message import new_id
from ap4r.settings.settings import Settings
from ap4r.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """The system's parts that the dispatcher uses. None uses the operating system's own."""

    make_workers: Callable[[Store], Workers] | None = None
    computing: Computing | None = None
    endpoints: IAgentEndpointFactory | None = None
    random: Callable[[], float] = chance
    now: Callable[[], float] = wall_clock
    boottime: Callable[[], float] = boottime
    make_owner: Callable[[], str] = new_id


def bounds_of(settings: Settings) -> Bounds:
    """Return the settings of an exchange."""
    return Bounds(
        connect_timeout_seconds=settings.connect_timeout_seconds,
        read_bytes=settings.response_read_bytes,
        kept_bytes=settings.response_kept_bytes,
        search_true=settings.success == "ap4r",
    )


def terms_of(settings: Settings, routes: ServerRoutes) -> DeliverySettings:
    """Return the settings of deliveries.

    :raises ConfigError: a secret or a callable that they refer to is missing.
    """
    return DeliverySettings(
        settings.delivery_rules,
        settings.timeout_seconds,
        CallerIdentities(settings),
        Rewriting(settings.rewrite),
        routes,
    )


def describing_of(settings: Settings) -> DescribingRules:
    """Return the settings of descriptions.

    :raises ConfigError: a secret that they refer to is missing.
    """
    securities = {one.name: one.facts() for one in settings.wsse}
    return DescribingRules(settings.wsdl_seconds, settings.wsdl_dtd, securities)

"""Targets by name, looked up in werkzeug's routing: a Map that was passed, or Flask's own.

The application is inspected when a name is first looked up: routes may be added until then.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import BuildError, Map, MapAdapter, Rule
from werkzeug.routing.exceptions import RoutingException

from ap4r.describe.routes import Resolved, Routes, unknown_name, wrong_values
from ap4r.errors import ConfigError, TargetRefused
from ap4r.middleware.routes.django import DjangoRoutes, is_django

_MOST_LAYERS = 20  #: of middleware around an application
_NAMES = ("controller", "action")


def find_routes(app: object, given: object = None) -> Routes | None:
    """Return the object that looks up targets' names.

    :param app: the WSGI application; Flask and Django are found through the middleware around them.
    :param given: routes=: a werkzeug Map, a Flask application, the name of a Django URL conf (`"shop.urls"`), or
        any object with `resolve()` (`ap4r.describe.routes.Routes`). Without it the routes of `app` are used.
    :raises ConfigError: `given` is none of these.
    """
    if given is None:
        return next((found for layer in _layers(app) if (found := _routes_of(layer, strict=False))), None)
    found = _routes_of(given, strict=True)
    if found is None and isinstance(given, str):
        found = DjangoRoutes(given, strict=True)
    if found is None and callable(getattr(given, "resolve", None)):
        found = given  # type: ignore[assignment]
    if found is None:
        problem = f"{type(given).__name__} is not a werkzeug Map, Flask application or Django URL conf"
        raise ConfigError("routes", problem)
    return found


def _routes_of(one: object, *, strict: bool) -> Routes | None:
    if isinstance(one, Map):
        return MapRoutes(one, strict=strict)
    if isinstance(url_map := getattr(one, "url_map", None), Map):
        return MapRoutes(url_map, strict=strict)
    return DjangoRoutes(None, strict=strict) if "django" in sys.modules and is_django(one) else None


def _layers(app: object) -> Iterator[object]:
    """Yield the application, and each one inside it, in the attributes where middleware usually keeps it."""
    for _ in range(_MOST_LAYERS):
        yield app
        names = ("__self__", "__wrapped__", "app", "application", "wsgi_app", "_app")
        inner = next((found for name in names if callable(found := getattr(app, name, None))), None)
        if inner is None or inner is app:
            return
        app = inner


class MapRoutes:
    """Looks names up in a werkzeug Map.

    :param strict: a controller and action without a rule raise an error, and do not become `/<controller>/<action>`.
    """

    def __init__(self, url_map: Map, *, strict: bool) -> None:
        self._map = url_map
        self._strict = strict

    def resolve(self, given: Mapping[str, object]) -> Resolved | None:
        """Return the path (Routes)."""
        # Paths are relative to the application's own root; the dispatcher's app_urls include where it is mounted.
        adapter = self._map.bind("localhost", "/")
        if "endpoint" in given:
            endpoint = given["endpoint"]
            values = {key: value for key, value in given.items() if key != "endpoint"}
            rules = self._rules(endpoint)
            if not rules:
                raise unknown_name(given, endpoint, self._names())
            return Resolved(_built(adapter, given, endpoint, values, rules), _words(endpoint))
        return self._action(adapter, given)

    def _action(self, adapter: MapAdapter, given: Mapping[str, object]) -> Resolved | None:
        """Return the path for a controller and action: an endpoint of that name, or a rule with both as values."""
        names = [given.get(key) for key in _NAMES]
        if not all(isinstance(name, str) and name for name in names):
            raise TargetRefused(given, "'controller' and 'action' must both be given, each a non-empty string")
        controller, action = (str(name).strip("/") for name in names)
        words = (*controller.split("/"), action)
        others = {key: value for key, value in given.items() if key not in _NAMES}
        for joint in (".", "/", "#", ":", "_"):
            endpoint = f"{controller}{joint}{action}"
            if rules := self._rules(endpoint):
                return Resolved(_built(adapter, given, endpoint, others, rules), words)
        fitting = [rule for rule in self._map.iter_rules() if set(_NAMES) <= rule.arguments]
        # A rule for one action is preferred to one for any action.
        fitting.sort(key=lambda rule: -len(set(_NAMES) & set(rule.defaults or {})))
        values = {**others, "controller": controller, "action": action}
        for rule in fitting:
            if all((rule.defaults or {}).get(key, values[key]) == values[key] for key in _NAMES):
                try:
                    return Resolved(_built(adapter, given, rule.endpoint, values, [rule]), words)
                except TargetRefused:
                    continue
        if fitting:
            raise wrong_values(given, f"{controller}.{action}", others, [rule.rule for rule in fitting])
        if self._strict:
            raise unknown_name(given, f"{controller}.{action}", self._names(), "controller and action")
        return None

    def _rules(self, endpoint: Any) -> list[Rule]:
        try:
            return [] if endpoint is None else list(self._map.iter_rules(endpoint))
        except (KeyError, TypeError):  # unknown, or not a possible name
            return []

    def _names(self) -> list[str]:
        return [str(rule.endpoint) for rule in self._map.iter_rules()]


def _built(
    adapter: MapAdapter, given: Mapping[str, object], endpoint: Any, values: Mapping[str, object], rules: list[Rule]
) -> str:
    # werkzeug drops None, and would then report a needed value as missing; it expands a list.
    try:
        path = adapter.build(endpoint, dict(values), append_unknown=True)
    except (BuildError, RoutingException, ValueError, TypeError, AttributeError) as error:
        raise wrong_values(given, endpoint, values, [rule.rule for rule in rules]) from error
    if not path.startswith("/") or path.startswith("//"):
        raise TargetRefused(given, "its rule belongs to a particular host; pass the whole URL")
    try:
        # Converters accept less when they parse than when they build: a negative number, a slash (WSGI undoes %2F).
        adapter.match(unquote(path.partition("?")[0]), method="POST")
    except NotFound as error:
        if not all(rule.build_only for rule in rules):
            raise wrong_values(given, endpoint, values, [rule.rule for rule in rules]) from error
    except HTTPException:
        pass  # the path exists, for another method
    return path


def _words(endpoint: object) -> tuple[str, ...]:
    name = endpoint if isinstance(endpoint, str) else getattr(endpoint, "__qualname__", type(endpoint).__name__)
    return tuple(name.split("."))

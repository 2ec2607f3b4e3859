"""Targets by name, looked up in Django's URL conf. Django is imported only if the process already uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

from ap4r.describe.routes import Resolved, unknown_name, wrong_values
from ap4r.errors import TargetRefused

_MOST_NAMES = 5_000
_PLACE = re.compile(r"<(?:[^<>:]+:)?(\w+)>")  #: the place of a value: `<int:id>` in path(), `(?P<id>…)` in re_path()


@dataclass(frozen=True, slots=True)
class _Route:
    """One route of a name: `needs` are the names of its values, `takes` also those that it sets itself."""

    rule: str
    needs: frozenset[str]
    takes: frozenset[str]


def is_django(app: object) -> bool:
    """Return whether an application is a Django handler."""
    return isinstance(app, import_module("django.core.handlers.base").BaseHandler)


class DjangoRoutes:
    """Looks names up as `django.urls.reverse` does, with keyword arguments or with `args`.

    Keyword arguments that a route has no place for become the query, as they do in Flask.

    :param urlconf: the module with `urlpatterns`; None means ROOT_URLCONF.
    :param strict: a controller and action without a route raise an error, and do not become `/<controller>/<action>`.
    """

    def __init__(self, urlconf: str | None, *, strict: bool) -> None:
        self._urlconf = urlconf
        self._strict = strict
        self._walked: tuple[object, dict[str, list[_Route]]] = (None, {})

    def resolve(self, given: Mapping[str, object]) -> Resolved | None:
        """Return the path (Routes)."""
        if "endpoint" in given:
            name = given["endpoint"]
            values = {key: value for key, value in given.items() if key != "endpoint"}
            if not isinstance(name, str):
                raise TargetRefused(given, "'endpoint' must be the name of a route, as for django.urls.reverse")
            return Resolved(self._reversed(given, name, values), _words(name))
        controller, action = given.get("controller"), given.get("action")
        if not isinstance(controller, str) or not isinstance(action, str) or not controller or not action:
            raise TargetRefused(given, "'controller' and 'action' must both be given, each a non-empty string")
        values = {key: value for key, value in given.items() if key not in ("controller", "action")}
        known = self._known()
        for joint in (":", ".", "-", "_", "/"):
            name = f"{controller}{joint}{action}"
            if name in known:
                return Resolved(self._reversed(given, name, values), (*controller.split(":"), action))
        if self._strict:
            raise unknown_name(given, f"{controller}:{action}", known, "controller and action")
        return None

    def _reversed(self, given: Mapping[str, object], name: str, values: Mapping[str, object]) -> str:
        urls: Any = import_module("django.urls")
        positional = values.get("args", ())
        named = {key: value for key, value in values.items() if key != "args"}
        if not isinstance(positional, (list, tuple)) or (positional and named):
            raise TargetRefused(
                given, "'args' must be a list of positional arguments, and must not be combined with keyword arguments"
            )
        refused: Exception | None = None
        for kept in self._kept(name, named):
            others = {key: value for key, value in named.items() if key not in kept}
            try:
                path = str(
                    urls.reverse(name, urlconf=self._urlconf, args=list(positional) or None, kwargs=kept or None)
                )
                query = urlencode(list(_pairs(others)))
            except (urls.NoReverseMatch, ValueError, TypeError) as error:
                refused = refused or error
                continue
            # Paths are relative to the application's own root; the dispatcher's app_urls include where it is mounted.
            path = "/" + path.removeprefix(urls.get_script_prefix()).lstrip("/")
            return f"{path}?{query}" if query else path
        known = self._known()
        if name in known:
            told = [*named, *map(str, positional)]
            raise wrong_values(given, name, told, [route.rule for route in known[name]]) from refused
        raise unknown_name(given, name, known) from refused

    def _kept(self, name: str, named: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
        """Yield the values that may belong to a route: all of them, or those of each route of that name."""
        yield named
        routes = self._known().get(name, []) if named else []
        for route in sorted(routes, key=lambda route: -len(route.takes & named.keys())):
            if not route.takes >= named.keys():
                yield {key: value for key, value in named.items() if key in route.takes}
            if route.needs <= named.keys():
                return  # this route is meant: one with fewer values would hide that a value does not fit

    def _known(self) -> dict[str, list[_Route]]:
        resolver = import_module("django.urls").get_resolver(self._urlconf)
        walked, known = self._walked
        if walked is not resolver:
            known = {}
            for name, route in _routes_below(resolver, "", "/", frozenset()):
                known.setdefault(name, []).append(route)
                if len(known) >= _MOST_NAMES:
                    break
            self._walked = resolver, known
        return known


def _routes_below(resolver: Any, namespace: str, prefix: str, given: frozenset[str]) -> Iterator[tuple[str, _Route]]:
    for pattern in resolver.url_patterns:
        rule = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            spaces = {f"{namespace}{one}:" for one in (pattern.namespace, pattern.app_name) if one} or {namespace}
            for space in spaces:
                yield from _routes_below(pattern, space, rule, given | pattern.default_kwargs.keys())
        elif pattern.name:
            needs = frozenset(_PLACE.findall(rule))
            yield namespace + pattern.name, _Route(rule, needs, needs | given | pattern.default_args.keys())


def _pairs(values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield a query's pairs as werkzeug builds them: a list becomes several pairs, None becomes none."""
    for key, value in values.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None:
                yield key, one


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for part in name.split(":") for word in part.split(".") if word)

"""Targets by name, looked up in Django's URL conf. Django is imported only where it runs already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from ap4r.errors import TargetRefused
from ap4r.outbox.routes import Resolved, unknown_name, wrong_values

_MOST_NAMES = 5_000


def is_django(app: object) -> bool:
    """Tell whether an application is Django's."""
    return isinstance(app, import_module("django.core.handlers.base").BaseHandler)


class DjangoRoutes:
    """Looks names up as `django.urls.reverse` does, with keyword arguments or with `args`.

    :param urlconf: the module with `urlpatterns`; None takes ROOT_URLCONF.
    :param strict: a controller and action that no route has are an error, not `/<controller>/<action>`.
    """

    def __init__(self, urlconf: str | None, *, strict: bool) -> None:
        self._urlconf = urlconf
        self._strict = strict

    def resolve(self, given: Mapping[str, object]) -> Resolved | None:
        """Give the path (Routes)."""
        if "endpoint" in given:
            name = given["endpoint"]
            values = {key: value for key, value in given.items() if key != "endpoint"}
            if not isinstance(name, str):
                raise TargetRefused(given, "'endpoint' is the name of a route, as of django.urls.reverse")
            return Resolved(self._reversed(given, name, values), _words(name))
        controller, action = given.get("controller"), given.get("action")
        if not isinstance(controller, str) or not isinstance(action, str) or not controller or not action:
            raise TargetRefused(given, "'controller' and 'action' are names")
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
            raise TargetRefused(given, "'args' is a list of positional arguments, and stands alone")
        try:
            path = str(urls.reverse(name, urlconf=self._urlconf, args=list(positional) or None, kwargs=named or None))
        except (urls.NoReverseMatch, ValueError, TypeError) as error:
            known = self._known()
            if name in known:
                told = [*named, *map(str, positional)]
                raise wrong_values(given, name, told, known[name]) from error
            raise unknown_name(given, name, known) from error
        # Paths count from the application's own root: where it is mounted is told by the dispatcher's app_urls.
        return "/" + path.removeprefix(urls.get_script_prefix()).lstrip("/")

    def _known(self) -> dict[str, list[str]]:
        known: dict[str, list[str]] = {}
        for name, rule in _routes_below(import_module("django.urls").get_resolver(self._urlconf), "", "/"):
            known.setdefault(name, []).append(rule)
            if len(known) >= _MOST_NAMES:
                break
        return known


def _routes_below(resolver: Any, namespace: str, prefix: str) -> Iterator[tuple[str, str]]:
    for pattern in resolver.url_patterns:
        rule = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _routes_below(pattern, inner, rule)
        elif pattern.name:
            yield namespace + pattern.name, rule


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for part in name.split(":") for word in part.split(".") if word)

"""Targets by name: the interface of a resolver of names, and the error that lists the existing names.

It does not depend on a framework; `ap4r.middleware.routes` finds the routes of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Protocol

from ap4r.errors import TargetRefused
from ap4r.message.queue_name import name_queue
from ap4r.message.target import Target, TargetLike, parse_target
from ap4r.redaction import shortened

_LISTED = 10
_COMPARED, _COMPARED_CHARACTERS = 1_000, 50  #: of names, and of characters of each; more would make an error expensive


@dataclass(frozen=True, slots=True)
class Resolved:
    """The path of a name, and the name of its queue in words."""

    path: str
    words: tuple[str, ...]


class Routes(Protocol):
    """Finds the path of a target by name."""

    def resolve(self, given: Mapping[str, object]) -> Resolved | None:
        """Return the path for `{"endpoint": …, values}` or `{"controller": …, "action": …, values}`.

        None leaves a controller and action to the default, `/<controller>/<action>`.

        :raises TargetRefused: the name does not exist, or a value is missing; the text lists the existing ones.
        """


def resolve_target(given: TargetLike, routes: Routes | None) -> tuple[Target, str]:
    """Validate a target as `parse_target` does, after looking up names in `routes`.

    :raises TargetRefused: with the reason.
    """
    if isinstance(given, str):
        return parse_target(given)
    wanted = given
    if isinstance(given, Mapping) and set(given) == {"url"} and isinstance(given["url"], Mapping):
        wanted = given["url"]
    if not isinstance(wanted, Mapping) or not ({"endpoint", "controller"} & set(wanted)):
        return parse_target(given)
    if "endpoint" in wanted and ({"controller", "url"} & set(wanted)):
        raise TargetRefused(given, "a mapping has one of 'url', 'endpoint', or 'controller' and 'action'")
    if not all(isinstance(key, str) for key in wanted):
        raise TargetRefused(given, "the keys of a target must be strings")
    if routes is None:
        if "endpoint" in wanted:
            problem = "there are no routes; give AP4RMiddleware(app, routes=…) or session(routes=…)"
            raise TargetRefused(given, problem)
        return parse_target(given)
    resolved = routes.resolve(wanted)
    if resolved is None:
        return parse_target(given)
    return parse_target(resolved.path)[0], name_queue(resolved.words)


def unknown_name(given: object, name: object, known: Iterable[str], kind: str = "endpoint") -> TargetRefused:
    """Return the error for a name that no route has: it lists the existing names, the nearest first."""
    names = sorted(set(known))
    wanted = str(name)[:_COMPARED_CHARACTERS].lower()
    compared = names[:_COMPARED]
    compared.sort(key=lambda one: -SequenceMatcher(None, wanted, one[:_COMPARED_CHARACTERS].lower()).ratio())
    listed = ", ".join(shortened(one, 80)[1:-1] for one in compared[:_LISTED])
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    there_are = f"there are {listed}{more}" if names else "no route has a name"
    return TargetRefused(given, f"no route has the {kind} {shortened(name, 80)}; {there_are}")


def wrong_values(given: object, name: object, values: Iterable[str], rules: Iterable[str]) -> TargetRefused:
    """Return the error for values that fit none of a name's rules: it lists the rules."""
    listed = [shortened(rule, 100)[1:-1] for rule in rules]
    shown = " or ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
    listed_values = ", ".join(sorted(shortened(value, 40)[1:-1] for value in values)[:_LISTED]) or "none"
    problem = (
        f"the values given ({listed_values}) do not make a path for {shortened(name, 80)}: it needs those of {shown}"
    )
    return TargetRefused(given, problem)

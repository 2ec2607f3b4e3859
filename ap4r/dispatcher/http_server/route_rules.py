"""The rules of each path of the listen address: who may call it, by which methods, with what body. Pure.

A request is checked against the rules of its route by its headers, before anything of its body is read. A resource
without rules is not a route, and a site with one does not start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from ap4r.dispatcher.http_server.problem import Refusal


class Headed(Protocol):
    """A request whose headers have arrived."""

    @property
    def fields(self) -> Mapping[bytes, Sequence[bytes]]:
        """The headers by lower-case name."""

    def field(self, name: bytes) -> str | None:
        """Return the header of that name as text."""

    def getClientAddress(self) -> Any:
        """Return the address that it comes from."""


@dataclass(frozen=True, slots=True)
class MostBytes:
    """The longest body, and the setting that decides it.

    :param setting: the setting that the user can change; `value` is its value.
    """

    count: int
    setting: str
    value: int
    advice: str

    @property
    def refusal(self) -> Refusal:
        """Return the answer to a longer body."""
        allowed = f"the setting {self.setting} is {self.value:,}"
        if self.count != self.value:
            allowed += ", and JSON may be longer than its content"
        problem = f"the request's body has more than {self.count:,} bytes: {allowed}"
        return Refusal(413, "too_large", problem, "", self.advice)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRules:
    """The rules of one route.

    :param admit: returns why a request is refused, by its caller and the name that it uses.
    :param most_bytes: of a body; None if none is accepted.
    :param has_names: whether the route is for paths below it, as /queues/NAME, and not for the path itself.
    """

    admit: Callable[[Headed], Refusal | None]
    methods: tuple[str, ...]
    most_bytes: Callable[[], MostBytes] | None = None
    has_names: bool = False


class RuleBook:
    """The routes of an address by the first segment of their paths.

    :param admit: decides who may learn that a path does not exist.
    """

    def __init__(self, rules: Mapping[str, RouteRules], admit: Callable[[Headed], Refusal | None]) -> None:
        """Store the rules.

        :raises TypeError: a route has none.
        """
        for path, rule in rules.items():
            if not isinstance(rule, RouteRules):
                raise TypeError(f"the route /{path} declares no rules; add who may call it, how, and with what body")
        self._rules = {path.encode(): rule for path, rule in rules.items()}
        self._admit = admit

    def refuse(self, request: Headed, method: str, path: bytes, length: int | None) -> Refusal | None:
        """Return why a request is refused, None when it is admitted.

        :param length: of its body; None if that is not known before its end.
        """
        first, *rest = path[1:].split(b"/")
        rules = self._rules_of(first)
        if rules is None or (b"".join(rest) == b"" if rules.has_names else rest):
            advice = "GET /openapi.json lists the paths" if b"openapi.json" in self._rules else "GET /healthz"
            return self._admit(request) or Refusal(404, "not_found", "there is nothing at this path", "", advice)
        refusal = self._stranger(request, rules)
        if refusal is not None:
            return refusal
        if method not in rules.methods:
            allowed = ", ".join(rules.methods)
            problem = "this path does not accept that method"
            return Refusal(405, "wrong_method", problem, "", f"use {allowed}", allow=allowed)
        if rules.most_bytes is None:
            if length != 0:
                return Refusal(413, "too_large", "this path accepts no body", "", "send the request without one")
        elif length:
            most = rules.most_bytes()
            if length > most.count:
                return most.refusal
        return rules.admit(request)

    def most_bytes(self, path: bytes) -> MostBytes | None:
        """Return the longest body for a path; None if none is accepted."""
        rules = self._rules_of(path.split(b"/", 2)[1])
        return None if rules is None or rules.most_bytes is None else rules.most_bytes()

    def _rules_of(self, segment: bytes) -> RouteRules | None:
        return self._rules.get(unquote_to_bytes(segment))

    def _stranger(self, request: Headed, rules: RouteRules) -> Refusal | None:
        # A caller who may not know of a path may not know its methods either.
        return None if rules.admit is self._admit else self._admit(request)

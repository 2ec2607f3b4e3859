"""Rewrites targets right before the call: the first rule that matches decides the new target.

The result of a rule is validated like the target of a handler; a rule that fails only affects its message.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache

from ap4r.errors import ConfigError, TargetRefused
from ap4r.message.target import APP, Target, parse_target
from ap4r.redaction import shortened
from ap4r.settings.rewrite_rules import RewriteRule


class RewriteFailed(Exception):
    """The result of a rule cannot be called; the text names the rule and the reason."""


class Rewriting:
    """Applies the rules of the settings. Results are cached: a callable is called once for each URL.

    :raises ConfigError: a callable cannot be imported.
    """

    def __init__(self, rules: Sequence[RewriteRule]) -> None:
        self._rules = [(number, rule, load_callable(rule.call)) for number, rule in enumerate(rules, 1)]
        self._cached = lru_cache(maxsize=4_096)(self._rewrite)

    def of(self, target: Target, queue: str) -> Target:
        """Return the target that is called.

        :raises RewriteFailed: its rule failed.
        """
        return self._cached(target, queue) if self._rules else target

    def _rewrite(self, target: Target, queue: str) -> Target:
        for number, rule, call in self._rules:
            if rule.matches(target, queue):
                return _applied(f"rewrite rule {number}", rule, call, target)
        return target


def load_callable(name: str) -> Callable[[str], object] | None:
    """Import `package.module:function`; return None for an empty name.

    :raises ConfigError: it does not exist, or is not callable.
    """
    if not name:
        return None
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module, _, attribute = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise ConfigError("rewrite", f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError("rewrite", f"{name} cannot be called")
    return found


def _applied(which: str, rule: RewriteRule, call: Callable[[str], object] | None, target: Target) -> Target:
    try:
        if call is None:
            return rule.replaced(target)
        given = target.url if target.upstream == APP else str(target)
        made = call(given)
        if not isinstance(made, str):
            raise RewriteFailed(f"{which}: {rule.call} returned {shortened(made)}, which is not a URL")
        return parse_target(made)[0]
    except TargetRefused as error:
        raise RewriteFailed(f"{which}: {error}") from None
    except RewriteFailed:
        raise
    except (Exception, SystemExit) as error:
        raise RewriteFailed(f"{which}: {rule.call}: {type(error).__name__}: {error}") from error

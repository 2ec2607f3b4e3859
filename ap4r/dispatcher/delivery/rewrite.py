"""Rewriting targets right before the call: the first rule that matches says where the message goes instead.

What a rule makes of a target is checked as what a handler gives is; a rule that fails fails its message, nobody else.
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
    """A rule made nothing of a target that could be called; the text says which and why."""


class Rewriting:
    """Applies the rules of the settings. A rule's result is remembered: its callable is asked once for each URL.

    :raises ConfigError: a callable cannot be imported.
    """

    def __init__(self, rules: Sequence[RewriteRule]) -> None:
        self._rules = [(number, rule, load_callable(rule.call)) for number, rule in enumerate(rules, 1)]
        self._cached = lru_cache(maxsize=4_096)(self._rewrite)

    def of(self, target: Target, queue: str) -> Target:
        """Give the target that is called.

        :raises RewriteFailed: the rule that is for it failed.
        """
        return self._cached(target, queue) if self._rules else target

    def _rewrite(self, target: Target, queue: str) -> Target:
        for number, rule, call in self._rules:
            if rule.matches(target, queue):
                return _applied(f"rewrite rule {number}", rule, call, target)
        return target


def load_callable(name: str) -> Callable[[str], object] | None:
    """Import `package.module:function`; None where there is none.

    :raises ConfigError: it is not there, or cannot be called.
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
            raise RewriteFailed(f"{which}: {rule.call} gave {shortened(made)}, which is no URL")
        return parse_target(made)[0]
    except TargetRefused as error:
        raise RewriteFailed(f"{which}: {error}") from None
    except RewriteFailed:
        raise
    except (Exception, SystemExit) as error:
        raise RewriteFailed(f"{which}: {rule.call}: {type(error).__name__}: {error}") from error

"""The tables [[rewrite]]: which targets are changed right before the call, and into what. Pure.

A rule replaces parts of a URL, or names a callable, which only the dispatcher imports.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ap4r.errors import ConfigError, TargetRefused
from ap4r.message.target import APP, Target, parse_target
from ap4r.redaction import shortened
from ap4r.settings.fields import listed_tables, only_known, text_of
from ap4r.settings.networks import canonical_host, is_listed, parse_host_patterns

_PARTS = ("upstream", "scheme", "host", "port", "path")
_MATCHED = (*_PARTS, "queue")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH = re.compile(r"/[^?#\s]*")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parts of a target, to compare or to replace. Empty, and port 0, matches any, or keeps the part."""

    upstream: str = ""
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    queue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteRule:
    """One rule. `call` is `package.module:function`, or empty if `replace` is used."""

    match: Parts
    replace: Parts = Parts()
    call: str = ""

    def matches(self, target: Target, queue: str) -> bool:
        """Return whether this rule applies to a target and a queue."""
        match = self.match
        if match.queue and not _is_queue(queue, match.queue):
            return False
        if target.upstream is not None:
            if match.scheme or match.host or match.port or match.upstream not in ("", target.upstream):
                return False
            path = target.url
        else:
            parts = urlsplit(target.url)
            if match.upstream or match.scheme not in ("", parts.scheme):
                return False
            if match.host and not is_listed(canonical_host(parts.hostname or ""), (match.host,)):
                return False
            if match.port and match.port != (parts.port or _DEFAULT_PORTS[parts.scheme]):
                return False
            path = parts.path
        return not match.path or _begins(_spelt(path.partition("?")[0]), match.path)

    def replaced(self, target: Target) -> Target:
        """Return the target with the new parts. The result is validated like the target of a handler.

        :raises TargetRefused: it cannot be called.
        """
        new = self.replace
        if target.upstream is not None:
            scheme, netloc, host, port, resource = "http", "", "", None, target.url
        else:
            parts = urlsplit(target.url)
            scheme, netloc, port = parts.scheme, parts.netloc, parts.port
            host = netloc.rpartition(":")[0] if port is not None else netloc
            resource = target.url.partition("://")[2].removeprefix(netloc)
        if new.path:
            path, mark, query = resource.partition("?")
            rest = (_spelt(path)[len(self.match.path) :] if self.match.path else "") + mark + query
            joint = "/" if self.match.path.endswith("/") and not new.path.endswith("/") and rest[:1] not in "/?" else ""
            path = new.path[:-1] if new.path.endswith("/") and rest.startswith("/") else new.path
            resource = path + joint + rest
        if new.upstream or (target.upstream is not None and not new.host):
            name = new.upstream or str(target.upstream)
            return parse_target(Target(resource, name))[0]
        host, port = new.host or host, new.port or port
        port_text = "" if port is None else f":{port}"
        return parse_target(f"{new.scheme or scheme}://{host}{port_text}{resource}")[0]


def parse_rewrites(name: str, where: str, value: object, _: object) -> tuple[RewriteRule, ...]:
    """Parse the tables [[rewrite]].

    :raises ConfigError: the text names the table by its number, and says what is wrong.
    """
    rules = []
    for number, table in enumerate(listed_tables(name, where, value), 1):
        full = f"{name} {number}"
        only_known(full, where, table, ("match", "replace", "call"))
        call = text_of(full, where, table, "call")
        if ("replace" in table) == bool(call):
            raise ConfigError(full, f'in {where}: it has either replace = {{…}} or call = "package.module:function"')
        if call and not _CALLABLE.fullmatch(call):
            raise ConfigError(full, f"in {where}: {shortened(call)} is not of the form package.module:function")
        match = _parts(f"{full}.match", where, table.get("match", {}), _MATCHED)
        replace = _parts(f"{full}.replace", where, table.get("replace", {}), _PARTS)
        if not call and replace == Parts():
            raise ConfigError(full, f"in {where}: it replaces nothing; give some of {', '.join(_PARTS)}")
        if replace.upstream and (replace.scheme or replace.host or replace.port):
            raise ConfigError(full, f"in {where}: an upstream has servers of its own; remove scheme, host and port")
        if (replace.scheme or replace.port) and not replace.host and match.upstream:
            raise ConfigError(full, f"in {where}: a path on an upstream gets a scheme and port only with a host")
        rules.append(RewriteRule(match=match, replace=replace, call=call))
    return tuple(rules)


def refuse_unknown(rules: Sequence[RewriteRule], upstreams: Collection[str]) -> None:
    """Check that the upstreams that rules name exist.

    :raises ConfigError: the text names the rule by its number, and the known upstreams.
    """
    for number, rule in enumerate(rules, 1):
        for place, parts in (("match", rule.match), ("replace", rule.replace)):
            if parts.upstream and parts.upstream not in upstreams:
                known = ", ".join(sorted(upstreams))
                raise ConfigError(
                    f"rewrite {number}.{place}", f"no upstream is called {shortened(parts.upstream)}; known are {known}"
                )


def _parts(name: str, where: str, table: object, known: tuple[str, ...]) -> Parts:
    if not isinstance(table, Mapping):
        raise ConfigError(name, f'in {where}: it must be a table, {{host = "…", path = "…"}}')
    only_known(name, where, table, known)
    texts: dict[str, Any] = {key: text_of(name, where, table, key) for key in known if key in table and key != "port"}
    if "port" in table:
        port = table["port"]
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65_535:
            raise ConfigError(f"{name}.port", f"in {where}: {shortened(port)} is not a number from 1 to 65535")
        texts["port"] = port
    if texts.get("scheme", "http") not in _DEFAULT_PORTS:
        raise ConfigError(f"{name}.scheme", f"in {where}: {shortened(texts['scheme'])} is not one of http, https")
    if "host" in texts:
        [texts["host"]] = parse_host_patterns(f"{name}.host", where, texts["host"], None)
        if ":" in texts["host"]:
            texts["host"] = f"[{texts['host']}]" if "queue" not in known else texts["host"]
        if "queue" not in known and "*" in texts["host"]:
            raise ConfigError(f"{name}.host", f"in {where}: give one host")
    if "path" in texts and not _PATH.fullmatch(texts["path"]):
        raise ConfigError(f"{name}.path", f"in {where}: {shortened(texts['path'])} is not the beginning of a path")
    if "path" in texts or "upstream" in texts:
        try:
            checked = parse_target(Target(texts.get("path", "/"), texts.get("upstream", APP)))[0]
        except TargetRefused as error:
            raise ConfigError(name, f"in {where}: {error.problem}") from None
        path = _spelt(checked.url) if "queue" in known else checked.url
        texts |= {"path": path} if "path" in texts else {}
    return Parts(**texts)


def _is_queue(queue: str, wanted: str) -> bool:
    return queue.startswith(wanted[:-1]) if wanted.endswith("*") else queue == wanted


def _begins(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix) : len(prefix) + 1] in ("", "/"))


def _spelt(path: str) -> str:
    """Return a path in the canonical spelling of all equivalent ones (RFC 3986, 6.2.2.1 and 6.2.2.2)."""
    return _ESCAPE.sub(_unescaped, path) if "%" in path else path


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()

"""The target of a message: a path on an upstream, or an absolute URL; and the queue that follows from it.

Pure: nothing is looked up. Only the dispatcher resolves names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Union
from urllib.parse import quote, urlsplit

import idna

from ap4r.errors import TargetRefused
from ap4r.message.queue_name import name_queue, queue_of_host, queue_of_path
from ap4r.redaction import shortened

TargetLike = Union[str, Mapping[str, object], "Target"]

APP = "app"  #: the upstream that is the application itself
MAX_URL_BYTES = 8_192
MAX_HOST_CHARACTERS = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
# RFC 3986: the characters that are allowed in a path or query; "%" so that escapes are kept.
_PATH_SAFE = "/%:@!$&'()*+,;=-._~"
_QUERY_SAFE = _PATH_SAFE + "?"
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
_HOST_LABEL = re.compile(r"[a-z0-9_-]{1,63}\Z")
_UPSTREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_ON_UPSTREAM = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*):/(?!/)")
_CONTROLLER = re.compile(r"/?[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*/?\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """A path on an upstream (`upstream` set, `url` a path with its query), or an absolute URL (`upstream` None)."""

    url: str
    upstream: str | None = None

    @property
    def origin(self) -> str:
        """The server side in one word: the upstream's name, or scheme, host and port of the URL."""
        if self.upstream is not None:
            return self.upstream
        return "/".join(self.url.split("/", 3)[:3]).split("?", 1)[0]

    def __str__(self) -> str:
        return self.url if self.upstream is None else f"{self.upstream}:{self.url}"

    @classmethod
    def from_text(cls, text: str) -> Target:
        """Parse what `str(target)` wrote. Nothing is validated: it was when the target was built."""
        if text.startswith(("http://", "https://")):
            return cls(text)
        upstream, _, path = text.partition(":")
        return cls(path, upstream)


def parse_target(given: TargetLike) -> tuple[Target, str]:
    """Validate a caller's target; return it in canonical form with the queue name built from it.

    Accepts a path ("/search/reindex"), a path on another upstream ("web:/search/reindex"), an absolute http or https
    URL, a Target, `{"controller": …, "action": …}`, or `{"url": …}` with any of these. A fragment is dropped, because
    no client sends it. Whether the upstream exists is not checked here.

    :raises TargetRefused: with the reason.
    """
    if isinstance(given, Target):
        target = _parse_again(given)
        return target, _queue_of(target)
    if isinstance(given, str):
        return _parse_str(given)
    if isinstance(given, Mapping):
        return _parse_mapping(given)
    raise TargetRefused(given, "give a path, an absolute URL, {'url': …} or {'controller': …, 'action': …}")


@lru_cache(1024)  # most callers have a few targets
def _parse_str(text: str) -> tuple[Target, str]:
    target = _parse_text(text, text)
    return target, _queue_of(target)


def _parse_again(given: Target) -> Target:
    if not isinstance(given.url, str):
        raise TargetRefused(given, "its url must be a string")
    target = _parse_text(given.url, given)
    if target.upstream is None and given.upstream is None:
        return target
    if target.upstream is None or not isinstance(given.upstream, str) or not _UPSTREAM.match(given.upstream):
        raise TargetRefused(given, "it has either an absolute URL, or an upstream's name and a path that begins with /")
    return replace(target, upstream=given.upstream)


def _parse_mapping(given: Mapping[str, object]) -> tuple[Target, str]:
    keys = set(given)
    if keys == {"url"}:
        url = given["url"]
        if isinstance(url, Mapping) and set(url) == {"controller", "action"}:
            return _parse_mapping(url)
        if not isinstance(url, (str, Target)):
            raise TargetRefused(given, "'url' must be a string")
        return parse_target(url)
    if keys == {"controller", "action"}:
        names = [given["controller"], given["action"]]
        if not all(isinstance(name, str) and _CONTROLLER.match(name) for name in names):
            raise TargetRefused(given, "'controller' and 'action' are names of letters, digits, _, -, . and /")
        path = "/".join(str.__str__(name).strip("/") for name in names if isinstance(name, str))
        return _parse_text("/" + path, given), name_queue(path.split("/"))
    if keys > {"controller", "action"}:
        others = ", ".join(sorted(shortened(key, 40) for key in keys - {"controller", "action"}))
        raise TargetRefused(given, f"unknown keys {others}; other values need routes=…; otherwise use params")
    unknown = sorted(str(key) for key in keys - {"url", "controller", "action"})
    problem = f"unknown keys {', '.join(unknown)}; " if unknown else ""
    raise TargetRefused(given, problem + "a mapping has either 'url', or 'controller' and 'action'")


def _parse_text(text: str, given: object) -> Target:
    if not text:
        raise TargetRefused(given, "it is empty; give a path that begins with / or an absolute URL")
    if len(text) > MAX_URL_BYTES:
        raise TargetRefused(given, f"{len(text):,} characters are more than a URL may have ({MAX_URL_BYTES:,})")
    if _CONTROL.search(text):
        raise TargetRefused(given, "it has a space, a line break or another control character; write spaces as %20")
    if _BAD_ESCAPE.search(text):
        raise TargetRefused(given, "a % must begin an escape of two hex digits; write the sign itself as %25")
    if "\\" in text:
        raise TargetRefused(given, "a backslash means different things to different servers; write it as %5C")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TargetRefused(given, "it cannot be encoded as UTF-8") from error
    named = _ON_UPSTREAM.match(text)
    if text.startswith("/"):
        target = _parse_path(text, given)
    elif named and named[1].lower() not in _DEFAULT_PORTS:
        target = replace(_parse_path(text[named.end() - 1 :], given), upstream=named[1])
    else:
        target = _parse_url(text, given)
    if len(target.url) > MAX_URL_BYTES:
        raise TargetRefused(given, f"{len(target.url):,} bytes are more than a URL may have ({MAX_URL_BYTES:,})")
    if _DOT_SEGMENT.search(target.url.partition("?")[0]):
        raise TargetRefused(given, "a segment . or .. may lead to an unexpected path; write the path without it")
    return target


def _parse_path(text: str, given: object) -> Target:
    if text.startswith("//"):
        raise TargetRefused(given, "a path begins with one /; for another host give the whole URL with http://")
    path, _, query = text.partition("#")[0].partition("?")
    return Target(_resource(path, query), APP)


def _parse_url(text: str, given: object) -> Target:
    scheme, separator, _ = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise TargetRefused(
            given, "give a path that begins with /, upstream:/path, or a URL that begins with http:// or https://"
        )
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise TargetRefused(given, f"it is not a URL: {error}") from error
    try:
        port = parts.port
    except ValueError as error:
        raise TargetRefused(given, "its port is not a number from 1 to 65535") from error
    if parts.username is not None or parts.password is not None:
        raise TargetRefused(given, "credentials in a URL would be stored and logged; send them as a header instead")
    if port == 0:
        raise TargetRefused(given, "port 0 cannot be called")
    host = _ipv6(parts.hostname or "", given) if "[" in parts.netloc else _host(parts.hostname or "", given)
    netloc = host if port is None or port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    return Target(f"{scheme}://{netloc}" + _resource(parts.path or "/", parts.query))


def _ipv6(host: str, given: object) -> str:
    if "%" in host:
        raise TargetRefused(given, "the zone of an IPv6 address is valid on one host only; remove it")
    try:
        return f"[{ipaddress.IPv6Address(host)}]"
    except ValueError as error:
        raise TargetRefused(given, f"[{host}] is not an IPv6 address") from error


def _host(host: str, given: object) -> str:
    if not host:
        raise TargetRefused(given, "it has no host")
    if len(host) > MAX_HOST_CHARACTERS:
        raise TargetRefused(given, f"{len(host)} characters are more than a host may have ({MAX_HOST_CHARACTERS})")
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
        labels = name.removesuffix(".").split(".")
        if len(name) > MAX_HOST_CHARACTERS or not all(_HOST_LABEL.match(label) for label in labels):
            raise ValueError(f"a name has parts of 1 to 63 letters, digits, - and _, {MAX_HOST_CHARACTERS} in all")
        # A name that ends in a number is an address; resolvers read shortened, octal and hex ones in different ways.
        if labels[-1].isdigit() or labels[-1].startswith("0x"):
            return str(ipaddress.IPv4Address(name))
    except ValueError as error:
        raise TargetRefused(given, f"{host!r} is not a host: {error}") from error
    return name


def _resource(path: str, query: str) -> str:
    return quote(path, safe=_PATH_SAFE) + ("?" + quote(query, safe=_QUERY_SAFE) if query else "")


def _queue_of(target: Target) -> str:
    if target.upstream is None:
        parts = urlsplit(target.url)  # without the default port of its scheme
        return queue_of_host(parts.hostname or "", parts.port)
    return queue_of_path(target.url.partition("?")[0])
